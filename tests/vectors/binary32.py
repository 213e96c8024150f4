"""Arithmetic of binary32 in exact fractions, rounded once an operation, and its conversions to other formats.

A number is a Python float that binary32 holds exactly. Results are computed as fractions.Fraction and rounded to
nearest, ties to even, subnormals kept; zeros have the signs that IEEE 754 gives them.
"""

import math
import struct
from fractions import Fraction

INF, NAN = math.inf, math.nan


def rounded(value, fraction_bits=23, exponent_min=-126, exponent_max=127):
    """An exact Fraction as the nearest number of a binary format, ties to even; its zero is +0."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < (Fraction(2) ** exponent):
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, exponent_min) - fraction_bits)
    quotient = magnitude / unit
    whole, rest = divmod(quotient.numerator, quotient.denominator)
    twice = 2 * rest
    if twice > quotient.denominator or (twice == quotient.denominator and whole % 2 == 1):
        whole += 1
    if whole * unit >= Fraction(2) ** (exponent_max + 1):
        return math.copysign(INF, value)
    # Both factors are exact in f64, and so is the product.
    return math.copysign(math.ldexp(float(whole), max(exponent, exponent_min) - fraction_bits), value)


def finite(*values):
    return all(math.isfinite(value) for value in values)


def add(a, b):
    if not finite(a, b):
        return a + b
    total = Fraction(a) + Fraction(b)
    # The sign of an exact zero is that of f64's sum.
    return rounded(total) if total != 0 else a + b


def sub(a, b):
    return add(a, -b)


def signed(exact, sign):
    """A rounded product or quotient; where it is zero, its sign is that of the operands."""
    return math.copysign(rounded(exact), sign)


def sign_of(*values):
    return math.prod(math.copysign(1.0, value) for value in values)


def mul(a, b):
    if not finite(a, b):
        return a * b
    return signed(Fraction(a) * Fraction(b), sign_of(a, b))


def div(a, b):
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b)) or (a == 0 and b == 0):
        return NAN
    if math.isinf(a) or b == 0:
        return math.copysign(INF, sign_of(a, b))
    if math.isinf(b):
        return math.copysign(0.0, sign_of(a, b))
    return signed(Fraction(a) / Fraction(b), sign_of(a, b))


def fma(a, b, c):
    if not finite(a, b, c):
        return c if finite(a, b) else a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact != 0:
        return rounded(exact)
    product = math.copysign(0.0 if a == 0 or b == 0 else 1.0, sign_of(a, b))
    # An exact zero is −0 only where both terms are zeros with that sign.
    return product + c if product == 0 else 0.0


def sqrt(x):
    if math.isnan(x) or x < 0:
        return NAN
    if x == 0 or math.isinf(x):
        return x
    exact = Fraction(x)
    # An integer root with at least 40 bits, made odd where something was cut off, rounds as the exact root does.
    shift = 120 + 2 * exact.denominator.bit_length()
    scaled = (exact.numerator << (2 * shift)) // exact.denominator
    root = math.isqrt(scaled)
    inexact = root * root != scaled or (exact.numerator << (2 * shift)) % exact.denominator != 0
    return rounded(Fraction(2 * root + (1 if inexact else 0), 2 << shift))


def from_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def rne(x):
    """The nearest integer, ties to even; of NaN 0. Infinite ones are given beyond every bound of a clamp."""
    if math.isnan(x):
        return 0
    if math.isinf(x):
        return int(math.copysign(1 << 40, x))
    return round(Fraction(x))


def clamp(value, low, high):
    return max(low, min(high, value))


# --- formats ---------------------------------------------------------------------------------------------------------


def floats_of(data):
    return [value for (value,) in struct.iter_unpack("<f", data)]


def u16s_of(data):
    return [value for (value,) in struct.iter_unpack("<H", data)]


def widen_binary16(bits):
    sign = -1.0 if bits >> 15 else 1.0
    exponent, fraction = bits >> 10 & 31, bits & 1023
    if exponent == 31:
        return NAN if fraction else sign * INF
    if exponent == 0:
        return sign * math.ldexp(fraction, -24)
    return sign * math.ldexp(1024 + fraction, exponent - 25)


def widen_bfloat16(bits):
    return from_bits(bits << 16)


def to_binary16(x):
    sign = 0x8000 if math.copysign(1.0, x) < 0 else 0
    if not math.isinf(x):
        x = rounded(Fraction(x), 10, -14, 15)
    x = abs(x)
    if math.isinf(x):
        return sign | 0x7C00
    if x < 2.0**-14:
        return sign | int(math.ldexp(x, 24))
    fraction, exponent = math.frexp(x)
    return sign | (exponent + 14) << 10 | int(math.ldexp(fraction, 11)) - 1024
