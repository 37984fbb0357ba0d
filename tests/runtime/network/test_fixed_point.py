"""Fixed-point formulas equal onnxruntime's kernels on every pair of bytes, with the exceptions that they list."""

import numpy as np
import pytest

from fmnist_runtime.network import fixed_point
from fmnist_runtime.network.layers import Quantization

BYTES = np.arange(256, dtype=np.uint8)
LEFT, RIGHT = np.repeat(BYTES, 256), np.tile(BYTES, 256)


def apply(values: tuple[np.ndarray, ...], formula: fixed_point.FixedPointFormula) -> np.ndarray:
    found = fixed_point.evaluate(values, formula.factors, formula.offset)
    for a, b, y in formula.exceptions:
        found[256 * a + b] = y
    return found


@pytest.mark.parametrize("seed", range(12))
def test_add_and_multiply(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, y = (Quantization(np.float32(random.uniform(0.002, 0.3)), int(random.integers(0, 256))) for _ in range(3))
    if seed == 0:  # exact halves, where the rounding to even shows
        a, b, y = (Quantization(np.float32(s), z) for s, z in ((0.5, 3), (0.5, 7), (1, 11)))
    added = fixed_point._run("QLinearAdd", (LEFT, a), (RIGHT, b), y=y)
    np.testing.assert_array_equal(apply((LEFT, RIGHT), fixed_point.add_formula(a, b, y)), added)
    multiplied = fixed_point._run("QLinearMul", (LEFT, a), (RIGHT, b), y=y)
    product = (LEFT.astype(np.int64) - a.zero_point) * (RIGHT.astype(np.int64) - b.zero_point)
    np.testing.assert_array_equal(apply((product,), fixed_point.multiply_formula(a, b, y)), multiplied)
