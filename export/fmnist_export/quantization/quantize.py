"""Static quantization of a float ONNX model to int8 in QDQ form, with the raw pixels as the quantized input.

Activations are uint8 with one scale for a tensor. Weights are int8 with one scale for each channel, limited to 7 bits by
default. x86 processors with AVX2 but no VNNI add two products of 8-bit numbers in 16 bits, which saturates with 8-bit weights
without an error. With 7 bits nothing saturates, so all processors compute the same integers.

The float graph starts with ``Cast, Sub 73, Div 90``. A pixel *is* that value quantized with scale 1/90 and zero point 73. So
the int8 graph starts with a DequantizeLinear, which onnxruntime fuses into the first layer. A mean that is not a whole number
(127.5) is rounded: half a gray level is less than the noise of any camera.
"""

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from fmnist_export.convert import strip_build_details
from fmnist_export.graph import drop_unused, weighted_nodes
from fmnist_export.quantization.equalize import equalize
from fmnist_export.quantization.first_conv import widen_first_convolution
from fmnist_export.quantization.qdq_graph import (
    keep_float_layers,
    keep_float_logits,
    left_factors,
    normalization,
    read_pixels,
)
from fmnist_export.quantization.rounding import fit_rounding
from fmnist_export.settings import QuantizationSettings
from fmnist_train.data.splits import arrays_sha256
from fmnist_train.files import temporary_folder

__all__ = ["describe_calibration", "quantize"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_INTEGER_OPERATORS = (
    *("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Relu", "Sigmoid", "Add", "Mul", "Reshape", "Flatten", "Transpose"),
)
"""Operators that are quantized: those with integer kernels, and those that only rearrange values."""
_8_BITS = 127
"""Largest magnitude of an 8-bit weight; a smaller limit means 7 bits."""


def quantize(model: ModelProto, images: np.ndarray, settings: QuantizationSettings) -> ModelProto:
    """Returns the int8 counterpart of a float model.

    Args:
        model: A model that ``to_onnx`` returned.
        images: Calibration images, uint8 ``[N, 28, 28]``.
        settings: Settings of the quantization.

    Raises:
        ConfigError: The graph does not start with the normalization of raw pixels.
    """
    if settings.refine:
        model = equalize(model, images)
    quantized = _to_integers(model, images, settings)
    if settings.refine:
        fit_rounding(model, quantized, images)
    widen_first_convolution(quantized)
    strip_build_details(quantized)  # also names the new nodes
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def describe_calibration(images: np.ndarray, settings: QuantizationSettings) -> dict[str, Any]:
    """Returns the metadata field ``calibration`` of a quantized model.

    Args:
        images: Calibration images, uint8 ``[N, 28, 28]``.
        settings: Settings of the quantization.
    """
    about = {
        "method": settings.calibration,
        "target": settings.target,
        "images": len(images),
        "sha256": arrays_sha256(images),
    }
    return about | ({"float_layers": list(settings.float_layers)} if settings.float_layers else {})


def _to_integers(model: ModelProto, images: np.ndarray, settings: QuantizationSettings) -> ModelProto:
    """Runs onnxruntime's quantizer, then adapts the graph to raw pixels and float logits."""
    with temporary_folder() as folder, _silence_quantizer():
        source, target = folder / "float.onnx", folder / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _CalibrationReader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_INTEGER_OPERATORS),
            nodes_to_exclude=[n.name for n, name in weighted_nodes(model) if name in settings.float_layers],
            per_channel=True,
            reduce_range=settings.weight_limit < _8_BITS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[settings.calibration],
            extra_options=_extra_options(model, settings),
        )
        quantized = onnx.load(target)
    read_pixels(quantized, normalization(model)[0])
    keep_float_logits(quantized)
    keep_float_layers(quantized, settings.float_layers)
    drop_unused(quantized)
    return strip_build_details(quantized)


def _extra_options(model: ModelProto, settings: QuantizationSettings) -> dict[str, Any]:
    """Returns the quantizer's further options: fixed scales for the raw pixels, and bounded memory for histograms."""
    normalized, mean, std = normalization(model)
    pixels = {"scale": np.array(1 / std, np.float32), "zero_point": np.array(round(mean), np.uint8)}
    return {
        "TensorQuantOverrides": {normalized: [pixels], **left_factors(model)},
        "CalibMovingAverage": False,
        # Histograms are collected batch by batch; otherwise all activations of all images would be in memory.
        **({} if settings.calibration == "minmax" else {"CalibStridedMinMax": 1}),
    }


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type information
    """Reader of the calibration images for onnxruntime's quantizer, in batches of equal size."""

    def __init__(self, images: np.ndarray, batch: int = 64) -> None:
        stop = len(images) - len(images) % batch or len(images)
        self._batches = [images[i : i + batch, None] for i in range(0, stop, batch)]
        self.set_range(0, len(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._pending: Iterator[np.ndarray] = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._pending, None)
        return None if batch is None else {"image": batch}


@contextlib.contextmanager
def _silence_quantizer() -> Iterator[None]:
    """Context manager that suppresses the output of onnxruntime's quantizer: progress, and advice that does not apply here."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
