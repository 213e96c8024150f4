#!/usr/bin/env python3
"""Checks the vectors beside it by a second implementation of docs/NUMERICS.md, in exact arithmetic.

Standard library only: `python3 tests/vectors/check.py [FILE...]`. Every operation is computed exactly and rounded once,
without a floating-point unit. The functions of f64 (`pow`, `cos`, `sin`, `log`) are those of this machine, and nearly
always round to the same binary32 as the definition's.
"""

import hashlib
import json
import math
import struct
import sys
import time
from fractions import Fraction
from pathlib import Path

# No cache beside the vectors.
sys.dont_write_bytecode = True

from binary32 import INF, NAN, add, clamp, div, floats_of, fma, from_bits, mul, rne, rounded, sqrt, sub
from binary32 import to_binary16, u16s_of, widen_bfloat16, widen_binary16

MASK = (1 << 64) - 1


# --- draws -----------------------------------------------------------------------------------------------------------


def splitmix64(seed):
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def plain(draws):
    return (next(draws) >> 40) / 4194304.0 - 2.0


def wild(draws):
    value = plain(draws)
    which = next(draws) % 24
    if which == 0:
        return 0.0
    if which == 1:
        return -0.0
    if which == 2:
        return from_bits(next(draws) % (1 << 23))
    return {3: math.ldexp(value, -126), 4: math.ldexp(value, 60)}.get(which, value)


# Elements and bytes of a block, and where its binary16 numbers stand.
TYPES = {
    "f32": (1, 4, []),
    "f16": (1, 2, []),
    "bf16": (1, 2, []),
    "q8_0": (32, 34, [0]),
    "q4_0": (32, 18, [0]),
    "q4_1": (32, 20, [0, 2]),
    "q5_0": (32, 22, [0]),
    "q5_1": (32, 24, [0, 2]),
    "q2_k": (256, 84, [80, 82]),
    "q3_k": (256, 110, [108]),
    "q4_k": (256, 144, [0, 2]),
    "q5_k": (256, 176, [0, 2]),
    "q6_k": (256, 210, [208]),
}


def drawn_weights(kind, seed, count):
    draws = splitmix64(seed)
    data = bytearray(b"".join(struct.pack("<Q", next(draws)) for _ in range(-(-count // 8)))[:count])
    _, size, halves = TYPES[kind]
    # The byte with the sign and the upper bits of the exponent, and what is set in it.
    numbers_at = {"f32": ([3], 0x3C), "f16": ([1], 0x20), "bf16": ([1], 0x3C)}
    places, bits = numbers_at.get(kind, ([at + 1 for at in halves], 0x20))
    for block in range(0, count, size):
        for at in places:
            data[block + at] = data[block + at] & 0xBF | bits
    return bytes(data)


def numbers(field):
    """Floats, written out or drawn."""
    if isinstance(field, str):
        return floats_of(bytes.fromhex(field))
    draws = splitmix64(field["seed"])
    draw = {"plain": plain, "wild": wild}[field["draw"]]
    return [draw(draws) for _ in range(field["count"])]


def number(field):
    (value,) = floats_of(bytes.fromhex(field))
    return value


def row_bytes(field, kind):
    return bytes.fromhex(field) if isinstance(field, str) else drawn_weights(kind, field["seed"], field["count"])


# --- sums ------------------------------------------------------------------------------------------------------------


def tree16(lanes):
    lanes = list(lanes)
    for half in (8, 4, 2, 1):
        for i in range(half):
            lanes[i] = add(lanes[i], lanes[i + half])
    return lanes[0]


def lane_sum(values, join):
    lanes = [0.0] * 16
    for i, value in values:
        lanes[i % 16] = join(lanes[i % 16], value)
    return tree16(lanes)


def sum_of_squares(x):
    return lane_sum(enumerate(x), lambda lane, value: fma(value, value, lane))


def seg(terms, join):
    """`join(sum, term)` in segments of 256."""
    total = 0.0
    for first in range(0, len(terms), 256):
        part = 0.0
        for term in terms[first : first + 256]:
            part = join(part, term)
        total = add(total, part)
    return total


# --- weights ---------------------------------------------------------------------------------------------------------


def halves_of_bytes(data):
    return [byte & 15 for byte in data] + [byte >> 4 for byte in data]


def sixes(packed):
    """Eight scales and eight minima of six bits in twelve bytes."""
    a = [packed[j] & 63 for j in range(4)] + [packed[j + 4] & 15 | packed[j - 4] >> 6 << 4 for j in range(4, 8)]
    b = [packed[j + 4] & 63 for j in range(4)] + [packed[j + 4] >> 4 | packed[j] >> 6 << 4 for j in range(4, 8)]
    return a, b


def block_groups(kind, data):
    """A block as groups in order: scale, minimum (None where the type has none), integers."""
    half = lambda at: widen_binary16(data[at] | data[at + 1] << 8)
    if kind == "q8_0":
        return [(half(0), None, [byte - 256 if byte > 127 else byte for byte in data[2:34]])]
    if kind == "q4_0":
        return [(half(0), None, [q - 8 for q in halves_of_bytes(data[2:])])]
    if kind == "q4_1":
        return [(half(0), half(2), halves_of_bytes(data[4:]))]
    if kind in ("q5_0", "q5_1"):
        at = 2 if kind == "q5_0" else 4
        fifths = int.from_bytes(data[at : at + 4], "little")
        q = [low | (fifths >> i & 1) << 4 for i, low in enumerate(halves_of_bytes(data[at + 4 :]))]
        return [(half(0), None, [value - 16 for value in q])] if kind == "q5_0" else [(half(0), half(2), q)]
    element = range(256)
    if kind in ("q2_k", "q3_k"):
        at = 16 if kind == "q2_k" else 32
        q = [data[at + 32 * (e // 128) + e % 32] >> 2 * (e // 32 % 4) & 3 for e in element]
    if kind in ("q4_k", "q5_k"):
        at = 16 if kind == "q4_k" else 48
        q = [data[at + 32 * (e // 64) + e % 32] >> 4 * (e // 32 % 2) & 15 for e in element]
    if kind == "q2_k":
        d, e = half(80), half(82)
        a, b = [byte & 15 for byte in data[:16]], [byte >> 4 for byte in data[:16]]
        return [(mul(d, float(a[g])), mul(e, float(-b[g])), q[16 * g : 16 * g + 16]) for g in range(16)]
    if kind == "q3_k":
        q = [low + 4 * (data[e % 32] >> e // 32 & 1) - 4 for e, low in zip(element, q)]
        low = lambda g: data[96 + g % 8] >> 4 * (g // 8) & 15
        high = lambda g: data[104 + g % 4] >> 2 * (g // 4) & 3
        a = [(low(g) | high(g) << 4) - 32 for g in range(16)]
        return [(mul(half(108), float(a[g])), None, q[16 * g : 16 * g + 16]) for g in range(16)]
    if kind in ("q4_k", "q5_k"):
        if kind == "q5_k":
            q = [low | (data[16 + e % 32] >> e // 32 & 1) << 4 for e, low in zip(element, q)]
        a, b = sixes(data[4:16])
        return [(mul(half(0), float(a[g])), mul(half(2), float(-b[g])), q[32 * g : 32 * g + 32]) for g in range(8)]
    low = [data[64 * (e // 128) + e % 64] >> 4 * (e // 64 % 2) & 15 for e in element]
    q = [low[e] | (data[128 + 32 * (e // 128) + e % 32] >> 2 * (e // 32 % 4) & 3) << 4 for e in element]
    a = [byte - 256 if byte > 127 else byte for byte in data[192:208]]
    return [(mul(half(208), float(a[g])), None, [value - 32 for value in q[16 * g : 16 * g + 16]]) for g in range(16)]


def row_groups(kind, row):
    _, size, _ = TYPES[kind]
    return [group for at in range(0, len(row), size) for group in block_groups(kind, row[at : at + size])]


def plain_row(kind, row):
    if kind == "f32":
        return floats_of(row)
    return [(widen_binary16 if kind == "f16" else widen_bfloat16)(bits) for bits in u16s_of(row)]


def row_values(kind, row):
    if TYPES[kind][0] == 1:
        return plain_row(kind, row)
    values = []
    for scale, minimum, integers in row_groups(kind, row):
        for q in integers:
            value = mul(scale, float(q))
            values.append(value if minimum is None else add(value, minimum))
    return values


def quantise_block(x):
    amax = max(abs(value) for value in x)
    inverse = div(127.0, amax)
    if inverse == INF:
        return 0.0, [0] * 32
    return div(amax, 127.0), [clamp(rne(mul(value, inverse)), -127, 127) for value in x]


def product(kind, row, x):
    if TYPES[kind][0] == 1:
        return seg(list(zip(plain_row(kind, row), x)), lambda total, term: fma(term[0], term[1], total))
    blocks = [quantise_block(x[at : at + 32]) for at in range(0, len(x), 32)]
    total = part = 0.0
    at = 0
    for scale, minimum, integers in row_groups(kind, row):
        dx, quants = blocks[at // 32]
        inputs = quants[at % 32 : at % 32 + len(integers)]
        dot = sum(q * qx for q, qx in zip(integers, inputs))
        part = fma(mul(scale, dx), float(dot), part)
        if minimum is not None:
            part = fma(minimum, mul(dx, float(sum(inputs))), part)
        at += len(integers)
        if at % 256 == 0 or at == len(x):
            total, part = add(total, part), 0.0
    return total


# --- operations ------------------------------------------------------------------------------------------------------


def exp(x):
    x = from_bits(0xC2AE999A) if x < from_bits(0xC2AE999A) else x
    x = from_bits(0x42B0999A) if x > from_bits(0x42B0999A) else x
    if math.isnan(x):
        return NAN
    n = float(rne(mul(x, from_bits(0x3FB8AA3B))))
    r = fma(n, -from_bits(0x3F318000), x)
    r = fma(n, -from_bits(0xB95E8083), r)
    p = from_bits(0x39506967)
    for bits in (0x3AB743CE, 0x3C088908, 0x3D2AA9C1, 0x3E2AAAAA, 0x3F000000):
        p = fma(p, r, from_bits(bits))
    y = add(fma(mul(p, r), r, r), 1.0)
    return mul(y, 2.0**n)


def swiglu(gate, up):
    return mul(div(gate, add(1.0, exp(-gate))), up)


def geglu(gate, up):
    cubic = fma(mul(gate, gate), from_bits(0x3D372713), 1.0)
    inner = mul(mul(gate, cubic), from_bits(0xBFCC422A))
    return mul(div(gate, add(1.0, exp(inner))), up)


ERF_P = (0x3F906EBB, 0x3E3D24B3, 0x3D5E8BD9, 0x3B7BA092, 0x39C8A40D, 0x36A0687B, 0xB26ACB0A)
ERF_Q = (0x3F800000, 0x3EFE7A8F, 0x3DE91DC2, 0x3C7D30B9, 0x3AABA628, 0x38863CB1)


def polynomial(coefficients, x):
    total = from_bits(coefficients[-1])
    for bits in coefficients[-2::-1]:
        total = fma(total, x, from_bits(bits))
    return total


def erf(z):
    z = -4.0 if z < -4.0 else 4.0 if z > 4.0 else z
    square = mul(z, z)
    found = div(mul(z, polynomial(ERF_P, square)), polynomial(ERF_Q, square))
    return -1.0 if found < -1.0 else 1.0 if found > 1.0 else found


def gelu(x):
    half = mul(0.5, x)
    return fma(half, erf(mul(x, from_bits(0x3F3504F3))), half)


def rms_norm(x, weight, epsilon):
    scale = div(1.0, sqrt(add(div(sum_of_squares(x), float(len(x))), epsilon)))
    return [mul(mul(value, scale), w) for value, w in zip(x, weight)]


def layer_norm(x, weight, bias, epsilon):
    mean = div(lane_sum(enumerate(x), add), float(len(x)))
    differences = [sub(value, mean) for value in x]
    scale = div(1.0, sqrt(add(div(sum_of_squares(differences), float(len(x))), epsilon)))
    return [fma(mul(d, scale), w, b) for d, w, b in zip(differences, weight, bias)]


def l2_norm(x):
    length = max(sqrt(sum_of_squares(x)), from_bits(0x2B8CBCCC))
    return [div(value, length) for value in x]


def mean_pooling(x, width):
    rows = [x[at : at + width] for at in range(0, len(x), width)]
    return [div(seg([row[i] for row in rows], add), float(len(rows))) for i in range(width)]


def attention(query, keys, values, first, scale):
    size = len(query)
    as_rows = lambda flat: [flat[at : at + size] for at in range(0, len(flat), size)]
    cached = lambda row: [widen_binary16(to_binary16(value)) for value in row]
    positions = range(first, len(keys) // size)
    keys, values = as_rows(keys), as_rows(values)
    scores = []
    for position in positions:
        chain = 0.0
        for q, k in zip(query, cached(keys[position])):
            chain = fma(q, k, chain)
        scores.append(mul(chain, scale))
    greatest = max(scores)
    weights = [exp(sub(score, greatest)) for score in scores]
    whole = lane_sum(zip(positions, weights), add)
    sums, parts = [0.0] * size, [0.0] * size
    for position, weight in zip(positions, weights):
        parts = [fma(weight, value, part) for value, part in zip(cached(values[position]), parts)]
        if position % 256 == 255:
            sums, parts = [add(total, part) for total, part in zip(sums, parts)], [0.0] * size
    return [div(add(total, part), whole) for total, part in zip(sums, parts)]


def route(logits, used):
    order = sorted(range(len(logits)), key=lambda expert: (-logits[expert], expert))[:used]
    weights = [exp(sub(logits[expert], logits[order[0]])) for expert in order]
    whole = 0.0
    for weight in weights:
        whole = add(whole, weight)
    return order, [div(weight, whole) for weight in weights]


def rotate(x, pairs, cos, sin):
    out = list(x)
    for (first, second), c, s in zip(pairs, cos, sin):
        a, b = x[first], x[second]
        out[first] = fma(a, c, -mul(b, s))
        out[second] = fma(a, s, mul(b, c))
    return out


def frequencies(case):
    """In f64, by the functions of this machine."""
    base, rotated = number(case["base"]), case["rotated"]
    for i in range(rotated // 2):
        f = math.pow(base, -2.0 * i / rotated)
        if case["name"] == "rope-linear":
            f /= number(case["factor"])
        if case["name"] == "rope-factors":
            f /= numbers(case["factors"])[i]
        if case["name"] == "rope-yarn":
            pair = lambda n: rotated * math.log(case["original"] / (n * (2 * math.pi))) / (2 * math.log(base))
            low = max(math.floor(pair(number(case["beta_fast"]))), 0)
            high = min(math.ceil(pair(number(case["beta_slow"]))), rotated - 1)
            k = 1.0 - clamp((i - low) / max(0.001, high - low), 0.0, 1.0)
            f = f / number(case["factor"]) * (1.0 - k) + f * k
        yield f


# --- the choice of tokens --------------------------------------------------------------------------------------------


def tagged(tag, *fields):
    return hashlib.sha256(tag.encode() + b"\0" + b"".join(fields)).digest()


def u32(value):
    return struct.pack("<I", value)


def weight_of(x):
    return int(Fraction(exp(x)) * (1 << 40))


def adjusted(case):
    logits = numbers(case["logits"])
    counts = {}
    for token in case["history"]:
        counts[token] = counts.get(token, 0) + 1
    repetition, frequency = number(case["repetition_penalty"]), number(case["frequency_penalty"])
    presence = number(case["presence_penalty"])
    for token, count in counts.items():
        if token < len(logits):
            logit = logits[token]
            logit = div(logit, repetition) if logit > 0 else mul(logit, repetition)
            logits[token] = sub(sub(logit, mul(float(count), frequency)), presence)
    for token, bias in zip(case["bias_tokens"], numbers(case["biases"])):
        logits[token] = add(logits[token], bias)
    return logits


def candidates(case, logits):
    """Weights of the tokens that may be drawn, in ascending order of tokens."""
    temperature, greatest = number(case["temperature"]), max(logits)
    weights = [weight_of(div(sub(logit, greatest), temperature)) for logit in logits]
    ranked = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if case["top_k"]:
        ranked = ranked[: case["top_k"]]
    share = lambda key: int(Fraction(number(case[key])) * (1 << 32))
    whole, running, kept = sum(weights[token] for token in ranked), 0, []
    for token in ranked:
        running += weights[token]
        kept.append(token)
        if running << 32 >= share("top_p") * whole:
            break
    most = weights[kept[0]]
    kept = [token for token in kept if weights[token] << 32 >= share("min_p") * most]
    return sorted((token, weights[token]) for token in kept)


def draw(kept, seed, position):
    uniform = int.from_bytes(tagged("assay/sample/1", seed, u32(position))[:8], "little")
    mark, running = uniform * sum(weight for _, weight in kept) >> 64, 0
    for token, weight in kept:
        running += weight
        if running > mark:
            return token


# --- hashes ----------------------------------------------------------------------------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def merkle_root(leaves):
    """RFC 9162, 2.1.1, over hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def spec_id(names):
    names = sorted(f"assay-num-1/{name}".encode() for name in names)
    return tagged("assay/spec/1", u32(len(names)), *(u32(len(name)) + name for name in names))


# --- the files -------------------------------------------------------------------------------------------------------


def hex_floats(values):
    bits = (b"\0\0\xc0\x7f" if math.isnan(value) else struct.pack("<f", value) for value in values)
    return b"".join(bits).hex()


def hex_u16s(values):
    return b"".join(struct.pack("<H", value) for value in values).hex()


def check_generator(case):
    if case["name"] == "splitmix64":
        draws = splitmix64(case["seed"])
        yield "u64", b"".join(struct.pack("<Q", next(draws)) for _ in range(4)).hex()
    elif case["name"] == "weights":
        yield "result", drawn_weights(case["type"], case["seed"], len(case["result"]) // 2).hex()
    else:
        count = len(case["result"]) // 8
        yield "result", hex_floats(numbers({"draw": case["name"], "seed": case["seed"], "count": count}))


def check_widening(case):
    widen = widen_binary16 if case["name"] == "binary16" else widen_bfloat16
    yield "result", hex_floats(widen(bits) for bits in u16s_of(bytes.fromhex(case["x"])))


def check_quantise_block(case):
    x = numbers(case["x"])
    blocks = [quantise_block(x[at : at + 32]) for at in range(0, len(x), 32)]
    yield "scales", hex_floats(scale for scale, _ in blocks)
    yield "integers", b"".join(struct.pack("32b", *integers) for _, integers in blocks).hex()


def away(x):
    """The nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(Fraction(x)) + Fraction(1, 2)), x))


def check_quantisers(case):
    x = numbers(case["x"])
    q8_0, q4_0 = b"", b""
    for at in range(0, len(x), 32):
        block = x[at : at + 32]
        scale = div(max(abs(value) for value in block), 127.0)
        inverse = div(1.0, scale)
        inverse = 0.0 if math.isinf(inverse) else inverse
        q8_0 += struct.pack("<H32b", to_binary16(scale), *(away(mul(value, inverse)) for value in block))
        scale = div(max(block, key=abs), -8.0)
        inverse = div(1.0, scale)
        inverse = 0.0 if math.isinf(inverse) else inverse
        q = [min(15, int(fma(value, inverse, 8.5))) for value in block]
        q4_0 += struct.pack("<H", to_binary16(scale)) + bytes(q[i] | q[i + 16] << 4 for i in range(16))
    yield "q8_0", q8_0.hex()
    yield "q4_0", q4_0.hex()


def of_one(function):
    def check(case):
        yield "result", hex_floats(function(x) for x in numbers(case["x"]))

    return check


def of_two(function):
    def check(case):
        yield "result", hex_floats(map(function, numbers(case["gate"]), numbers(case["up"])))

    return check


def check_rms_norm(case):
    yield "result", hex_floats(rms_norm(numbers(case["x"]), numbers(case["weight"]), number(case["epsilon"])))


def check_layer_norm(case):
    weight, bias = numbers(case["weight"]), numbers(case["bias"])
    yield "result", hex_floats(layer_norm(numbers(case["x"]), weight, bias, number(case["epsilon"])))


def check_angles(case):
    (magnitude,) = struct.unpack("<d", bytes.fromhex(case["magnitude"]))
    if case["name"] == "rope-yarn":
        yield "magnitude", struct.pack("<d", 1.0 + 0.1 * math.log(number(case["factor"]))).hex()
    angles = [position * f for position in case["positions"] for f in frequencies(case)]
    yield "cos", hex_floats(rounded(Fraction(math.cos(angle) * magnitude)) for angle in angles)
    yield "sin", hex_floats(rounded(Fraction(math.sin(angle) * magnitude)) for angle in angles)


def check_rope(case):
    half = case["rotated"] // 2
    interleaved = case["name"] == "rope-interleaved"
    pairs = [(2 * i, 2 * i + 1) if interleaved else (i, i + half) for i in range(half)]
    yield "result", hex_floats(rotate(numbers(case["x"]), pairs, numbers(case["cos"]), numbers(case["sin"])))


def check_attention(case):
    query, keys, values = (numbers(case[key]) for key in ("query", "keys", "values"))
    scale = div(1.0, sqrt(float(len(query))))
    yield "scale", hex_floats([scale])
    yield "result", hex_floats(attention(query, keys, values, case["first"], scale))


def check_experts(case):
    chosen, weights = route(numbers(case["logits"]), case["used"])
    yield "chosen", chosen
    yield "weights", hex_floats(weights)
    width, outputs = case["width"], numbers(case["outputs"])
    total = [0.0] * width
    for expert, weight in sorted(zip(chosen, weights)):
        total = [fma(weight, outputs[expert * width + i], total[i]) for i in range(width)]
    yield "result", hex_floats(total)


def check_products(case):
    kind, cols, x = case["type"], case["cols"], numbers(case["x"])
    elements, size, _ = TYPES[kind]
    rows, length = row_bytes(case["rows"], kind), cols // elements * size
    rows = [rows[at : at + length] for at in range(0, len(rows), length)]
    yield "result", hex_floats(product(kind, row, x) for row in rows)
    if "row" in case:
        yield "row", hex_floats(row_values(kind, rows[0]))


def check_sampling(case):
    logits = adjusted(case)
    if number(case["temperature"]) == 0:
        yield "tokens", [logits.index(max(logits))] * len(case["positions"])
        return
    kept = candidates(case, logits)
    yield "tokens", [draw(kept, bytes.fromhex(case["seed"]), position) for position in case["positions"]]


def check_logprobs(case):
    logits = numbers(case["logits"])
    greatest = max(logits)
    whole = math.log(sum(weight_of(sub(logit, greatest)) for logit in logits) / float(1 << 40))
    of = lambda token: rounded(Fraction(sub(logits[token], greatest) - whole))
    top = sorted(range(len(logits)), key=lambda token: (-logits[token], token))[: case["top"]]
    yield "result", hex_floats([of(case["chosen"])])
    yield "top_tokens", top
    yield "top_result", hex_floats(map(of, top))


def check_prompt(case):
    data = b"".join(map(u32, case["tokens"]))
    yield "result", tagged("assay/prompt/1", u32(len(data)), data).hex()


def check_spec(case):
    yield "result", spec_id(case["definitions"]).hex()


def check_trace(case):
    leaves = []
    for position in case["positions"]:
        hashes = [bytes.fromhex(layer) for layer in position["layers"]]
        # The last position has no forward pass.
        last = position is case["positions"][-1]
        root = bytes(32) if last else merkle_root([leaf_hash(layer) for layer in hashes])
        leaf = u32(position["position"]) + u32(position["token"]) + root + bytes.fromhex(position["logits"])
        yield "layers_root", root.hex(), position
        yield "leaf", leaf.hex(), position
        yield "leaf_hash", leaf_hash(leaf).hex(), position
        leaves.append(leaf_hash(leaf))
    yield "result", merkle_root(leaves).hex()


def check_models(case):
    """The states themselves need a whole forward pass: these are the hashes around them."""
    yield "spec_id", spec_id(case["definitions"]).hex()
    for run in case.get("runs", []):
        data = b"".join(map(u32, run["prompt"]))
        yield "prompt_hash", tagged("assay/prompt/1", u32(len(data)), data).hex(), run


CHECKS = {
    "generator": check_generator,
    "widening": check_widening,
    "rounding-f16": lambda case: [("result", hex_u16s(map(to_binary16, numbers(case["x"]))))],
    "quantise-block": check_quantise_block,
    "quantisers": check_quantisers,
    "exp": of_one(exp),
    "erf": of_one(erf),
    "gelu": of_one(gelu),
    "swiglu": of_two(swiglu),
    "geglu": of_two(geglu),
    "rms-norm": check_rms_norm,
    "layer-norm": check_layer_norm,
    "l2-norm": lambda case: [("result", hex_floats(l2_norm(numbers(case["x"]))))],
    "mean-pooling": lambda case: [("result", hex_floats(mean_pooling(numbers(case["x"]), case["width"])))],
    "rope-angles": check_angles,
    "rope": check_rope,
    "attention": check_attention,
    "experts": check_experts,
    "sampling": check_sampling,
    "logprobs": check_logprobs,
    "prompt-hash": check_prompt,
    "spec-id": check_spec,
    "trace": check_trace,
    "models": check_models,
    "encoders": check_models,
}


def check_file(path):
    """Cases and fields that were compared, and what was wrong."""
    fields, wrong = 0, []
    cases = json.loads(path.read_text())["cases"]
    name = path.stem
    if name.startswith("product-"):
        for case in cases:
            case["type"] = name.removeprefix("product-")
    check = check_products if name.startswith("product-") else CHECKS[name]
    for index, case in enumerate(cases):
        for key, found, *inner in check(case):
            fields += 1
            if (inner[0] if inner else case)[key] != found:
                wrong.append(f"case {index} ({case['name']}): {key} is {case.get(key)}, found {found}")
    return len(cases), fields, wrong


def main():
    folder = Path(__file__).parent
    paths = [Path(argument) for argument in sys.argv[1:]] or sorted(folder.glob("*.json"))
    failed = False
    for path in paths:
        start = time.monotonic()
        cases, fields, wrong = check_file(path)
        verdict, took = "WRONG" if wrong else "right", time.monotonic() - start
        print(f"{path.stem:15} {cases:3} cases, {fields:3} results: {verdict}, {took:.1f} s")
        for line in wrong:
            print(f"  {line[:400]}")
        failed = failed or bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
