"""Quantizes a float ONNX model to int8: static quantization in QDQ form, with the raw pixels as the quantized input.

Activations are uint8 per tensor. Weights are int8 per channel, reduced to 7 bits by default: x86 processors with AVX2 and
no VNNI add two products of 8-bit numbers in 16 bits, which saturates with 8-bit weights without an error. With 7 bits no
processor saturates, so all compute the same integers.

The float graph starts with ``Cast, Sub 73, Div 90``. A pixel *is* that value quantized with scale 1/90 and zero point 73,
so the int8 graph starts with a DequantizeLinear, which onnxruntime fuses into the first layer. A mean that is no whole
number (127.5) is rounded: half a gray level is less than the noise of any camera.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from fmnist_export.convert import strip_build_details
from fmnist_export.graph import GraphIndex, drop_unused, weighted_nodes
from fmnist_export.quantization.equalize import equalize
from fmnist_export.quantization.first_conv import widen_first_convolution
from fmnist_export.quantization.rounding import fit_rounding
from fmnist_export.settings import QuantizationSettings
from fmnist_runtime.errors import ConfigError
from fmnist_train.data.splits import arrays_sha256

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
"""Operators that the quantizer changes: those with integer kernels, and those that only move values."""
_8_BITS = 127
"""Largest magnitude of an 8-bit weight; a smaller limit means 7 bits."""
_MOST = 255
"""Largest value of a pixel, and of a uint8 activation."""


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
    normalized, mean, std = _normalization(model)
    scale, zero_point = np.array(1 / std, np.float32), np.array(round(mean), np.uint8)
    with tempfile.TemporaryDirectory() as folder, _without_output():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Pixels(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_INTEGER_OPERATORS),
            nodes_to_exclude=[n.name for n, name in weighted_nodes(model) if name in settings.float_layers],
            per_channel=True,
            reduce_range=settings.weight_limit < _8_BITS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[settings.calibration],
            extra_options={
                "TensorQuantOverrides": {
                    normalized: [{"scale": scale, "zero_point": zero_point}],
                    **_left_factors(model),
                },
                "CalibMovingAverage": False,
                # Histograms batch by batch: otherwise memory holds all activations of all images.
                **({} if settings.calibration == "minmax" else {"CalibStridedMinMax": 1}),
            },
        )
        quantized = onnx.load(target)
    _read_pixels(quantized, normalized)
    _keep_float_logits(quantized)
    _keep_float_layers(quantized, settings.float_layers)
    drop_unused(quantized)
    return strip_build_details(quantized)


class _Pixels(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type information
    """Gives onnxruntime the calibration images in batches of one size."""

    def __init__(self, images: np.ndarray, batch: int = 64) -> None:
        stop = len(images) - len(images) % batch or len(images)
        self._batches = [images[i : i + batch, None] for i in range(0, stop, batch)]
        self.set_range(0, len(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._coming: Iterator[np.ndarray] = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._coming, None)
        return None if batch is None else {"image": batch}


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Suppresses what onnxruntime's quantizer logs and prints: progress, and advice that does not apply here."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def _left_factors(model: ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Returns overrides for constant left factors of products without negative values.

    Integer kernels take a left factor in the type of an activation, uint8.
    """
    index = GraphIndex(model)
    factors = {
        n.input[0]: index.array(n.input[0])
        for n in model.graph.node
        if n.op_type == "MatMul" and n.input[0] in index.constants
    }
    zero = np.array(0, np.uint8)
    return {
        name: [{"scale": np.array(value.max() / _MOST, np.float32), "zero_point": zero, "quant_type": QuantType.QUInt8}]
        for name, value in factors.items()
        if value.min() >= 0 and value.max() > 0
    }


def _normalization(model: ModelProto) -> tuple[str, float, float]:
    """Returns the name of the normalized image (after a Reshape that follows at once), its mean and standard deviation."""
    index = GraphIndex(model)

    def reader(name: str) -> onnx.NodeProto | None:
        """The last node that reads a tensor first, which is the only one here."""
        found = [node for node in index.consumers.get(name, []) if node.input[0] == name]
        return found[-1] if found else None

    cast = reader("image")
    divide = reader(cast.output[0]) if cast is not None and cast.op_type == "Cast" else None
    mean = 0.0  # the exporter drops a subtraction of 0
    if divide is not None and divide.op_type == "Sub":
        mean, divide = float(index.array(divide.input[1])), reader(divide.output[0])
    if divide is None or divide.op_type != "Div":
        raise ConfigError("the graph does not start with Cast, Sub, Div: its pixels cannot be the quantized input")
    std = float(index.array(divide.input[1]))
    if not 0 <= mean <= _MOST:
        raise ConfigError(f"the mean {mean:g} is no pixel value: pixels cannot be the quantized input")
    following = reader(divide.output[0])
    normalized = divide if following is None or following.op_type != "Reshape" else following
    return normalized.output[0], mean, std


def _read_pixels(model: ModelProto, normalized: str) -> None:
    """Dequantizes the image itself, instead of the normalization in float and the QuantizeLinear after it."""
    index = GraphIndex(model)
    (quantizer,) = [
        n for n in index.consumers[normalized] if n.op_type == "QuantizeLinear" and n.input[0] == normalized
    ]
    producer, pixels = index.producers[normalized], "image"
    if producer.op_type == "Reshape":  # it works on bytes as well
        producer.input[0], pixels = "image", normalized
    quantized = quantizer.output[0]
    model.graph.node.remove(quantizer)
    _rename(model, quantized, pixels)


def _keep_float_logits(model: ModelProto) -> None:
    """Returns the sums of the last layer without quantization: 8-bit logits would lose resolution and save nothing."""
    index = GraphIndex(model)
    last = index.producers.get("logits")
    if last is None or last.op_type != "DequantizeLinear":
        return
    quantizer = index.producers[last.input[0]]
    sums = quantizer.input[0]
    model.graph.node.remove(last)
    model.graph.node.remove(quantizer)
    _rename(model, sums, "logits")


def _rename(model: ModelProto, old: str, new: str) -> None:
    """Replaces a tensor's name wherever it is read or written."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _keep_float_layers(model: ModelProto, names: tuple[str, ...]) -> None:
    """Inserts a maximum with the least float, which changes nothing, in front of each layer that stays in float.

    Otherwise onnxruntime (observed in 1.32) quantizes the weights of a float layer between integer layers to 8 bits while it
    loads the file. It leaves a layer alone whose input comes from another operator.
    """
    least = np.array(np.finfo(np.float32).min, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(least, "least_float"))  # `drop_unused` removes an unused one
    for outputs in [list(node.output) for node, name in weighted_nodes(model) if name in names]:
        (position,) = [i for i, node in enumerate(model.graph.node) if list(node.output) == outputs]
        layer, guarded = model.graph.node[position], f"{outputs[0]}_float_input"
        guard = helper.make_node("Max", [layer.input[0], "least_float"], [guarded])
        layer.input[0] = guarded
        model.graph.node.insert(position, guard)
