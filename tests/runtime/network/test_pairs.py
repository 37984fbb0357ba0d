"""Fixed-point formulas equal onnxruntime's kernels on every pair of bytes, with the exceptions that they list."""

import numpy as np
import pytest

from fmnist_runtime.network import pairs

BYTES = np.arange(256, dtype=np.uint8)
LEFT, RIGHT = np.repeat(BYTES, 256), np.tile(BYTES, 256)


def apply(values: tuple[np.ndarray, ...], formula: pairs.Linear) -> np.ndarray:
    found = pairs.evaluate(values, formula.factors, formula.offset)
    for a, b, y in formula.exceptions:
        found[256 * a + b] = y
    return found


@pytest.mark.parametrize("seed", range(12))
def test_add_and_multiply(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, y = ((np.float32(random.uniform(0.002, 0.3)), int(random.integers(0, 256))) for _ in range(3))
    if seed == 0:  # exact halves, where the rounding to even shows
        a, b, y = (np.float32(0.5), 3), (np.float32(0.5), 7), (np.float32(1), 11)
    added = pairs._run("QLinearAdd", (LEFT, a), (RIGHT, b), y=y)
    np.testing.assert_array_equal(apply((LEFT, RIGHT), pairs.add_formula(a, b, y)), added)
    multiplied = pairs._run("QLinearMul", (LEFT, a), (RIGHT, b), y=y)
    product = (LEFT.astype(np.int64) - a[1]) * (RIGHT.astype(np.int64) - b[1])
    np.testing.assert_array_equal(apply((product,), pairs.multiply_formula(a, b, y)), multiplied)
