"""Writes the quantisers' test vectors with gguf-py 0.19 (`pip install gguf==0.19.0`): run it in this folder."""
import numpy as np
from gguf import GGMLQuantizationType, quants

random = np.random.default_rng(1)
blocks = [
    np.zeros(32),
    np.arange(32) - 15.5,
    np.linspace(-127, 127, 32),
    # Halves: Q8_0 rounds them away from zero.
    np.concatenate([[127.0], np.arange(31) + 0.5]),
    np.concatenate([[-127.0], np.arange(31) - 15.5]),
    # Two values of equal magnitude and opposite sign: Q4_0 takes the first.
    np.concatenate([[4.0, -4.0], np.linspace(-4, 4, 30)]),
    np.concatenate([[-4.0, 4.0], np.linspace(-4, 4, 30)]),
    # The scale is a subnormal of binary16, and one that binary16 rounds to zero.
    np.linspace(-1e-4, 1e-4, 32),
    np.linspace(-1e-7, 1e-7, 32),
    # Near the largest scale of binary16.
    np.linspace(-8e6, 8e6, 32) / 16,
    # A single value among zeros.
    np.concatenate([np.zeros(31), [3.0]]),
]
for scale in [1e-3, 1.0, 50.0]:
    blocks.extend(random.normal(0, scale, (20, 32)))
values = np.array(blocks, dtype="<f4")
values.tofile("values.f32")
quants.quantize(values, GGMLQuantizationType.Q8_0).tofile("values.q8_0")
quants.quantize(values, GGMLQuantizationType.Q4_0).tofile("values.q4_0")
