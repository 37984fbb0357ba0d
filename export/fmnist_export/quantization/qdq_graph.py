"""Adaptation of graphs to raw pixels and float logits, before and after onnxruntime's quantizer."""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from fmnist_export.graph import GraphIndex, weighted_nodes
from fmnist_runtime.errors import ConfigError

__all__ = ["keep_float_layers", "keep_float_logits", "left_factors", "normalization", "read_pixels"]

_MAX_VALUE = 255
"""Largest value of a pixel, and of a uint8 activation."""


def left_factors(model: ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Returns quantizer overrides for constant left factors of matrix products, if they have no negative values.

    Integer kernels require the left factor in the type of activations, uint8.
    """
    index = GraphIndex(model)
    factors = {
        n.input[0]: index.array(n.input[0])
        for n in model.graph.node
        if n.op_type == "MatMul" and n.input[0] in index.constants
    }
    zero = np.array(0, np.uint8)
    return {
        name: [
            {
                "scale": np.array(value.max() / _MAX_VALUE, np.float32),
                "zero_point": zero,
                "quant_type": QuantType.QUInt8,
            }
        ]
        for name, value in factors.items()
        if value.min() >= 0 and value.max() > 0
    }


def normalization(model: ModelProto) -> tuple[str, float, float]:
    """Returns the name of the normalized image's tensor, the mean, and the standard deviation.

    If a Reshape follows the normalization, the name is that of its output.

    Raises:
        ConfigError: The graph does not start with a normalization whose mean is a pixel value.
    """
    index = GraphIndex(model)

    def reader(name: str) -> NodeProto | None:
        """Returns the last node whose first input is the tensor."""
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
    if not 0 <= mean <= _MAX_VALUE:
        raise ConfigError(f"the mean {mean:g} is not a pixel value: pixels cannot be the quantized input")
    following = reader(divide.output[0])
    normalized = divide if following is None or following.op_type != "Reshape" else following
    return normalized.output[0], mean, std


def read_pixels(model: ModelProto, normalized: str) -> None:
    """Replaces the float normalization and the QuantizeLinear after it, in place, so that pixels are the quantized input.

    Changes nothing where the first layer stays in float.
    """
    index = GraphIndex(model)
    quantizers = [n for n in index.consumers[normalized] if n.op_type == "QuantizeLinear" and n.input[0] == normalized]
    if not quantizers:
        return
    (quantizer,) = quantizers
    producer, pixels = index.producers[normalized], "image"
    if producer.op_type == "Reshape":  # it works on bytes as well
        producer.input[0], pixels = "image", normalized
    quantized = quantizer.output[0]
    model.graph.node.remove(quantizer)
    _rename(model, quantized, pixels)


def keep_float_logits(model: ModelProto) -> None:
    """Removes the quantization of the logits in place: it would reduce their resolution without saving time."""
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


def keep_float_layers(model: ModelProto, names: tuple[str, ...]) -> None:
    """Inserts a maximum with the smallest float, which has no effect, before each layer that stays in float.

    Otherwise onnxruntime (observed in 1.32) quantizes the weights of a float layer between integer layers to 8 bits when it
    loads the file. It does not do so if the layer's input comes from another operator.
    """
    least = np.array(np.finfo(np.float32).min, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(least, "least_float"))  # `drop_unused` removes an unused one
    for outputs in [list(node.output) for node, name in weighted_nodes(model) if name in names]:
        (position,) = [i for i, node in enumerate(model.graph.node) if list(node.output) == outputs]
        layer, guarded = model.graph.node[position], f"{outputs[0]}_float_input"
        guard = helper.make_node("Max", [layer.input[0], "least_float"], [guarded])
        layer.input[0] = guarded
        model.graph.node.insert(position, guard)
