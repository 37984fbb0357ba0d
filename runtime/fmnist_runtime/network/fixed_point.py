"""Fixed-point formulas of quantized addition and multiplication, compared with onnxruntime on all 65,536 pairs of bytes.

onnxruntime adds and multiplies activations in float32, on some processors with fused operations. A 64-bit fixed-point sum
reproduces their rounding. No compiler can fuse its operations, and processors without floating-point units compute it fast.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import onnxruntime

from fmnist_runtime.network.layers import Quantization
from fmnist_runtime.network.onnx_graph import one_node_model

__all__ = ["SHIFT", "FixedPointFormula", "add_formula", "evaluate", "multiply_formula", "sigmoid_table"]

SHIFT = 32
"""Fractional bits of the fixed-point sum: 255 times a factor below 256 stays far under 63 bits."""
_DOMAIN = "com.microsoft"
_BYTES = np.arange(256, dtype=np.uint8)
_OFFSET_CHANGES = (0, *(sign << shift for shift in range(8, 20) for sign in (1, -1)))
"""Changes of the offset to try, in units of 2**-SHIFT: float32 has steps of 2**-16 at 255."""


class FixedPointFormula(NamedTuple):
    """Formula ``clamp((sum(factors * values) + offset) >> SHIFT)``, with its exceptions."""

    factors: tuple[int, ...]
    """One factor for each value, in units of 2**-SHIFT."""
    offset: int
    """Offset in units of 2**-SHIFT."""
    exceptions: tuple[tuple[int, int, int], ...]
    """Pairs of bytes for which onnxruntime has another result: ``(a, b, y)``."""


def add_formula(a: Quantization, b: Quantization, y: Quantization) -> FixedPointFormula:
    """Returns the formula of QLinearAdd; its values are the bytes of ``a`` and ``b``."""
    left, right = np.repeat(_BYTES, 256), np.tile(_BYTES, 256)
    ratios = [float(each.scale) / float(y.scale) for each in (a, b)]
    constant = y.zero_point - ratios[0] * a.zero_point - ratios[1] * b.zero_point
    return _fit(_run("QLinearAdd", (left, a), (right, b), y=y), (left, right), ratios, constant)


def multiply_formula(a: Quantization, b: Quantization, y: Quantization) -> FixedPointFormula:
    """Returns the formula of QLinearMul; its value is the product of both bytes, each minus its zero point."""
    left, right = np.repeat(_BYTES, 256), np.tile(_BYTES, 256)
    product = (left.astype(np.int64) - a.zero_point) * (right.astype(np.int64) - b.zero_point)
    ratio = float(a.scale) * float(b.scale) / float(y.scale)
    return _fit(_run("QLinearMul", (left, a), (right, b), y=y), (product,), [ratio], y.zero_point)


def sigmoid_table(x: Quantization, y: Quantization) -> np.ndarray:
    """Returns QLinearSigmoid of all bytes, uint8 ``[256]``."""
    return _run("QLinearSigmoid", (_BYTES, x), y=y)


def evaluate(values: tuple[np.ndarray, ...], factors: tuple[int, ...], offset: int) -> np.ndarray:
    """Computes ``clamp((sum(factors * values) + offset) >> SHIFT)`` in integers.

    Args:
        values: One integer array for each factor, all ``[N]``.
        factors: See ``FixedPointFormula``.
        offset: See ``FixedPointFormula``.

    Returns:
        uint8 ``[N]``.
    """
    total = sum(v.astype(np.int64) * factor for v, factor in zip(values, factors, strict=True)) + np.int64(offset)
    return np.asarray(np.clip(total >> SHIFT, 0, 255), np.uint8)


def _fit(
    expected: np.ndarray, values: tuple[np.ndarray, ...], ratios: list[float], constant: float
) -> FixedPointFormula:
    """Chooses the offset with the fewest exceptions.

    Args:
        expected: Results of onnxruntime, uint8 ``[65536]``, for the pairs of bytes in order.
        values: One integer array ``[65536]`` for each ratio.
        ratios: Real factors of the values.
        constant: Real constant of the sum.
    """
    factors = tuple(round(ratio * 2**SHIFT) for ratio in ratios)
    middle = round((constant + 0.5) * 2**SHIFT)
    offsets = [middle + change for change in _OFFSET_CHANGES]
    errors = [int((evaluate(values, factors, offset) != expected).sum()) for offset in offsets]
    best = offsets[int(np.argmin(errors))]
    wrong = np.flatnonzero(evaluate(values, factors, best) != expected)
    exceptions = tuple((int(i) // 256, int(i) % 256, int(expected[i])) for i in wrong)
    return FixedPointFormula(factors, best, exceptions)


def _run(operator: str, *operands: tuple[np.ndarray, Quantization], y: Quantization) -> np.ndarray:
    """Runs one operator of onnxruntime on bytes, and returns bytes."""
    quantizations = (*(quantization for _, quantization in operands), y)
    session = _session(operator, tuple(Quantization(np.float32(q.scale), int(q.zero_point)) for q in quantizations))
    result: np.ndarray = session.run(None, {f"x{i}": values for i, (values, _) in enumerate(operands)})[0]
    return result


@cache
def _session(operator: str, quantization: tuple[Quantization, ...]) -> onnxruntime.InferenceSession:
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
