"""Float ONNX to int8 ONNX: static quantisation in QDQ form, with the raw pixels as the quantised input.

Activations are uint8 per tensor; weights are int8 per channel, reduced to 7 bits by default: x86 processors with AVX2 and
no VNNI add two products of 8-bit numbers in 16 bits, which saturates with 8-bit weights, silently. With 7 bits no
processor saturates, so all give the same integers.

The graph starts ``Cast, Sub 73, Div 90`` in float. A pixel *is* that value quantised with scale 1/90 and zero point 73,
so the int8 graph starts with a DequantizeLinear that onnxruntime fuses away, and has no arithmetic before its first layer.
A mean that is no whole number (127.5) is rounded to one: half a grey level, less than any camera's noise.
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

from fmnist_export.convert import strip_build_noise
from fmnist_export.graph import drop_unused, weighted_nodes
from fmnist_export.quantization.equalize import equalise
from fmnist_export.quantization.first_conv import widen_first_convolution
from fmnist_export.quantization.rounding import fit_rounding
from fmnist_export.settings import TARGETS, Quantisation
from fmnist_runtime.errors import ConfigError
from fmnist_train.data.splits import arrays_sha256

__all__ = ["describe_calibration", "quantise"]

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
    widen_first_convolution(quantised)
    strip_build_noise(quantised)  # names the new nodes
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def describe_calibration(images: np.ndarray, settings: Quantisation) -> dict[str, Any]:
    """What the metadata says of how a model was quantised."""
    about = {
        "method": settings.calibration,
        "target": settings.target,
        "images": len(images),
        "sha256": arrays_sha256(images),
    }
    return about | ({"float_layers": list(settings.float_layers)} if settings.float_layers else {})


def _to_integers(model: ModelProto, images: np.ndarray, settings: Quantisation) -> ModelProto:
    """Quantizes with onnxruntime and our settings, then removes what the graph no longer needs."""
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
                # Histograms batch by batch: otherwise all activations of all images are held at once.
                **({} if settings.calibration == "minmax" else {"CalibStridedMinMax": 1}),
            },
        )
        quantised = onnx.load(target)
    _feed_pixels(quantised, normalised)
    _keep_float_logits(quantised)
    _keep_float_layers(quantised, settings.float_layers)
    drop_unused(quantised)
    return strip_build_noise(quantised)


class _Pixels(CalibrationDataReader):
    """Hands the calibration images to onnxruntime, in batches of one size."""

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
def _quiet() -> Iterator[None]:
    """Silences the quantizer of onnxruntime, whose advice about preprocessing does not apply here."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


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


def _keep_float_layers(model: ModelProto, names: tuple[str, ...]) -> None:
    """Put a maximum with the least float, which changes nothing, in front of each layer that is to stay in float.

    onnxruntime (seen in 1.32) quantises the weights of a float layer between integer ones by itself while it loads the
    file, to 8 bits, and says nothing. It does not see one behind another operator.
    """
    least = np.array(np.finfo(np.float32).min, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(least, "least_float"))  # goes again where nobody needs it
    for outputs in [list(node.output) for node, name in weighted_nodes(model) if name in names]:
        (place,) = [i for i, node in enumerate(model.graph.node) if list(node.output) == outputs]
        layer, guarded = model.graph.node[place], f"{outputs[0]}_float_input"
        guard = helper.make_node("Max", [layer.input[0], "least_float"], [guarded])
        layer.input[0] = guarded
        model.graph.node.insert(place, guard)
