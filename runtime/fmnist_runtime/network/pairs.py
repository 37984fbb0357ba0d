"""Integer formulas for layers with two inputs of a byte, each compared with onnxruntime's kernel on all 65,536 pairs.

onnxruntime adds and multiplies activations in float32, on some processors with fused operations. Their rounding can be
reproduced by a fixed-point sum of 64 bits, which no compiler can contract and a processor without floats computes fast.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import onnxruntime

from fmnist_runtime.network.onnx_graph import one_node_model

__all__ = ["SHIFT", "Linear", "add_formula", "evaluate", "multiply_formula", "sigmoid_table"]

SHIFT = 32
"""Fractional bits of the fixed-point sum: 255 times a factor below 256 stays far under 63 bits."""
_DOMAIN = "com.microsoft"
_BYTES = np.arange(256, dtype=np.uint8)
_TWEAKS = (0, *(sign << shift for shift in range(8, 20) for sign in (1, -1)))
"""Offsets to try, in units of 2**-SHIFT: float32 of values up to 255 has steps of 2**-16."""


class Linear(NamedTuple):
    """``clamp((sum(factors * values) + offset) >> SHIFT)`` and the pairs where that is not the kernel's result."""

    factors: tuple[int, ...]
    offset: int
    exceptions: tuple[tuple[int, int, int], ...]


Quantized = tuple[np.float32, int]
"""Scale and zero point."""


def add_formula(a: Quantized, b: Quantized, y: Quantized) -> Linear:
    """Returns the integer formula of QLinearAdd, for bytes ``a`` and ``b``."""
    left, right = np.repeat(_BYTES, 256), np.tile(_BYTES, 256)
    ratios = [float(scale) / float(y[0]) for scale, _ in (a, b)]
    fixed = y[1] - ratios[0] * a[1] - ratios[1] * b[1]
    return _fit(_run("QLinearAdd", (left, a), (right, b), y=y), (left, right), ratios, fixed)


def multiply_formula(a: Quantized, b: Quantized, y: Quantized) -> Linear:
    """Returns the integer formula of QLinearMul, for the product of both bytes less their zero points."""
    left, right = np.repeat(_BYTES, 256), np.tile(_BYTES, 256)
    product = (left.astype(np.int64) - a[1]) * (right.astype(np.int64) - b[1])
    ratio = float(a[0]) * float(b[0]) / float(y[0])
    return _fit(_run("QLinearMul", (left, a), (right, b), y=y), (product,), [ratio], y[1])


def sigmoid_table(x: Quantized, y: Quantized) -> np.ndarray:
    """Returns QLinearSigmoid of all bytes, uint8 ``[256]``."""
    return _run("QLinearSigmoid", (_BYTES, x), y=y)


def evaluate(values: tuple[np.ndarray, ...], factors: tuple[int, ...], offset: int) -> np.ndarray:
    """Returns ``clamp((sum(factors * values) + offset) >> SHIFT)`` as uint8, in integers."""
    total = sum(v.astype(np.int64) * factor for v, factor in zip(values, factors, strict=True)) + np.int64(offset)
    return np.asarray(np.clip(total >> SHIFT, 0, 255), np.uint8)


def _fit(wanted: np.ndarray, values: tuple[np.ndarray, ...], ratios: list[float], fixed: float) -> Linear:
    """Chooses the offset with the fewest exceptions."""
    factors = tuple(round(ratio * 2**SHIFT) for ratio in ratios)
    middle = round((fixed + 0.5) * 2**SHIFT)
    offsets = [middle + tweak for tweak in _TWEAKS]
    misses = [int((evaluate(values, factors, offset) != wanted).sum()) for offset in offsets]
    best = offsets[int(np.argmin(misses))]
    wrong = np.flatnonzero(evaluate(values, factors, best) != wanted)
    return Linear(factors, best, tuple((int(i) // 256, int(i) % 256, int(wanted[i])) for i in wrong))


def _run(operator: str, *operands: tuple[np.ndarray, Quantized], y: Quantized) -> np.ndarray:
    """Runs one operator of onnxruntime on bytes and returns bytes."""
    quantization = [(np.float32(scale), int(zero)) for scale, zero in (*(about for _, about in operands), y)]
    session = _session(operator, tuple(quantization))
    found: np.ndarray = session.run(None, {f"x{i}": values for i, (values, _) in enumerate(operands)})[0]
    return found


@cache
def _session(operator: str, quantization: tuple[Quantized, ...]) -> onnxruntime.InferenceSession:
    constants: dict[str, np.ndarray] = {}
    inputs: list[str] = []
    *operands, output = enumerate(quantization)
    for i, (scale, zero_point) in (*operands, output):
        constants |= {f"s{i}": np.array(scale, np.float32), f"z{i}": np.array(zero_point, np.uint8)}
        inputs += [f"x{i}", f"s{i}", f"z{i}"]
    inputs.remove(f"x{output[0]}")
    model = one_node_model(operator, _DOMAIN, inputs=inputs, output="y", constants=constants)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
