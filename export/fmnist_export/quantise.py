"""Float ONNX to int8 ONNX: static quantisation in QDQ form, with the raw pixels as the quantised input.

Activations are uint8 per tensor; weights are int8 per channel, reduced to 7 bits by default: x86 processors with AVX2 and
no VNNI add two products of 8-bit numbers in 16 bits, which saturates with 8-bit weights, silently. With 7 bits no
processor saturates, so all give the same integers.

The graph starts ``Cast, Sub 73, Div 90`` in float. A pixel *is* that value quantised with scale 1/90 and zero point 73,
so the int8 graph starts with a DequantizeLinear that onnxruntime fuses away, and has no arithmetic before its first layer.
A mean that is no whole number (127.5) is rounded to one: half a grey level, less than any camera's noise.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from fmnist_export.convert import strip_build_noise
from fmnist_export.equalise import equalise
from fmnist_export.graph import drop_unused, weighted_nodes
from fmnist_export.rounding import fit_rounding
from fmnist_export.settings import TARGETS, Quantisation
from fmnist_runtime.errors import ConfigError

__all__ = ["quantise"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_INTEGER_OPERATORS = (
    *("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Relu", "Sigmoid", "Add", "Mul", "Reshape", "Flatten", "Transpose"),
)


def quantise(model: ModelProto, images: np.ndarray, settings: Quantisation) -> ModelProto:
    """Return the int8 twin of a float model that ``to_onnx`` made.

    Args:
        model: the float model.
        images: uint8 ``[N, 28, 28]`` to calibrate with.
        settings: how.
    """
    if settings.refine:
        model = equalise(model, images)
    quantised = _to_integers(model, images, settings)
    if settings.refine:
        fit_rounding(model, quantised, images)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _to_integers(model: ModelProto, images: np.ndarray, settings: Quantisation) -> ModelProto:
    """onnxruntime's own quantiser with our settings, and the graph cleaned up behind it."""
    normalised, mean, std = _normalisation(model)
    scale, zero_point = np.array(1 / std, np.float32), np.array(round(mean), np.uint8)
    with tempfile.TemporaryDirectory() as folder, _quiet():
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
            reduce_range=TARGETS[settings.target],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[settings.calibration],
            extra_options={
                "TensorQuantOverrides": {
                    normalised: [{"scale": scale, "zero_point": zero_point}],
                    **_left_factors(model),
                },
                "CalibMovingAverage": False,
            },
        )
        quantised = onnx.load(target)
    _feed_pixels(quantised, normalised)
    _keep_float_logits(quantised)
    drop_unused(quantised)
    return strip_build_noise(quantised)


class _Pixels(CalibrationDataReader):
    """Hands the calibration images to onnxruntime, in batches."""

    def __init__(self, images: np.ndarray, batch: int = 64) -> None:
        self._batches: Iterator[np.ndarray] = iter(
            [images[i : i + batch, None] for i in range(0, len(images) - len(images) % batch or len(images), batch)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


class _quiet:  # noqa: N801 (used like a function)
    """onnxruntime's quantiser logs advice about preprocessing that does not apply here."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._level)


def _left_factors(model: ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Constant left factors of products, none of them negative: integer kernels take them as they take activations."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    factors = {
        n.input[0]: constants[n.input[0]] for n in model.graph.node if n.op_type == "MatMul" and n.input[0] in constants
    }
    zero = np.array(0, np.uint8)
    return {
        name: [{"scale": np.array(value.max() / 255, np.float32), "zero_point": zero, "quant_type": QuantType.QUInt8}]
        for name, value in factors.items()
        if value.min() >= 0 and value.max() > 0
    }


def _normalisation(model: ModelProto) -> tuple[str, float, float]:
    """The name of the normalised image (flattened, where nothing else comes first), its mean and standard deviation."""
    constants = {i.name: float(numpy_helper.to_array(i)) for i in model.graph.initializer if not i.dims}
    consumers: dict[str, onnx.NodeProto] = {node.input[0]: node for node in model.graph.node if node.input}
    cast = consumers.get("image")
    divide = consumers.get(cast.output[0]) if cast is not None and cast.op_type == "Cast" else None
    mean = 0.0  # the exporter drops a subtraction of 0
    if divide is not None and divide.op_type == "Sub":
        mean, divide = constants[divide.input[1]], consumers.get(divide.output[0])
    if divide is None or divide.op_type != "Div":
        raise ConfigError("the graph does not start with Cast, Sub, Div: its pixels cannot be the quantised input")
    std = constants[divide.input[1]]
    if not 0 <= mean <= 255:
        raise ConfigError(f"the mean {mean:g} is no pixel value: pixels cannot be the quantised input")
    behind = consumers.get(divide.output[0])
    normalised = behind.output[0] if behind is not None and behind.op_type == "Reshape" else divide.output[0]
    return normalised, mean, std


def _feed_pixels(model: ModelProto, normalised: str) -> None:
    """Dequantise the image itself, in place of the float arithmetic and the QuantizeLinear behind it."""
    (quantise_node,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == normalised]
    (producer,) = [n for n in model.graph.node if normalised in n.output]
    pixels = "image"
    if producer.op_type == "Reshape":  # it flattens the bytes just as well
        producer.input[0], pixels = "image", normalised
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == quantise_node.output[0]:
                node.input[index] = pixels
    model.graph.node.remove(quantise_node)


def _keep_float_logits(model: ModelProto) -> None:
    """The last layer's accumulator goes out as it is: 8-bit logits would cost resolution and save nothing."""
    for last in [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.output[0] == "logits"]:
        (quantise_node,) = [n for n in model.graph.node if n.output[0] == last.input[0]]
        raw = quantise_node.input[0]
        model.graph.node.remove(last)
        model.graph.node.remove(quantise_node)
        for node in model.graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == raw:
                        names[index] = "logits"
