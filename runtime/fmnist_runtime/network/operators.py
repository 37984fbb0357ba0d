"""Operators of an int8 graph as layers: one function each, registered in ``OPERATORS`` and ``SCALE_PRESERVING``."""

import dataclasses
from collections.abc import Callable

import numpy as np

from fmnist_runtime.network.convolutions import read_convolution, read_dense
from fmnist_runtime.network.fixed_point import SHIFT, add_formula, multiply_formula, sigmoid_table
from fmnist_runtime.network.layers import (
    Add,
    Layer,
    Lookup,
    MaxPool,
    MeanPool,
    Multiply,
    Product,
    Quantization,
)
from fmnist_runtime.network.onnx_graph import Node
from fmnist_runtime.network.values import (
    Activations,
    Value,
    channels_last_index,
    count_windows,
    require_finite,
    unsupported,
)

__all__ = ["OPERATORS", "SCALE_PRESERVING"]

Read = tuple[Layer, np.ndarray]
"""A layer, and the index of its output, see ``Value``."""


def _product(reader: Activations, node: Node, y: Quantization, name: str) -> Read:
    matrix = reader.constant(node, 0, np.uint8)
    source = reader.channels_last(node, 1)
    height, width, channels = source.shape
    if matrix.values.ndim != 2 or matrix.values.shape[1] != height or channels != 1 or matrix.scale.size != 1:
        raise unsupported(node, "only a constant matrix times one channel is supported")
    output = reader.tensor(node, name, (len(matrix.values), width, 1), y)
    multiplier = np.float32(np.float32(matrix.scale) * source.scale) / y.scale
    require_finite(node, multiplier)
    zero_point = int(matrix.zero_point)
    layer = Product(
        name, (source,), output, matrix=matrix.values, matrix_zero_point=zero_point, multiplier=np.float32(multiplier)
    )
    return layer, channels_last_index(*output.shape)


def _mean_pool(reader: Activations, node: Node, y: Quantization, name: str) -> Read:
    source = reader.channels_last(node)
    height, width, channels = source.shape
    attributes = node.attributes
    is_global = node.op_type == "GlobalAveragePool" or tuple(attributes["kernel_shape"]) == (height, width)
    if not is_global or any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise unsupported(node, "only the mean over all positions is supported")
    output = reader.tensor(node, name, (1, 1, channels), y)
    # As onnxruntime's MlasQLinearGlobalAveragePool: input scale, divided by output scale times number of positions.
    multiplier = np.float32(source.scale / np.float32(y.scale * np.float32(height * width)))
    require_finite(node, multiplier)
    return MeanPool(name, (source,), output, multiplier), np.arange(channels).reshape(channels, 1, 1)


def _add(reader: Activations, node: Node, y: Quantization, name: str) -> Read:
    a, b = (reader.value(node, position) for position in (0, 1))
    if a.index.shape != b.index.shape or not np.array_equal(a.index, b.index):
        raise unsupported(node, "both inputs must be activations of one shape and order")
    formula = add_formula(a.tensor.quantization, b.tensor.quantization, y)
    output = reader.tensor(node, name, a.tensor.shape, y)
    left, right = formula.factors
    layer = Add(
        name,
        (a.tensor, b.tensor),
        output,
        factors=(left, right),
        offset=formula.offset,
        shift=SHIFT,
        exceptions=formula.exceptions,
    )
    return layer, a.index


def _multiply(reader: Activations, node: Node, y: Quantization, name: str) -> Read:
    a = reader.channels_last(node, 0)
    b = reader.value(node, 1)
    if b.index.shape != (a.shape[2], 1, 1):
        raise unsupported(node, "only a product with one value for each channel is supported")
    formula = multiply_formula(a.quantization, b.tensor.quantization, y)
    output = reader.tensor(node, name, a.shape, y)
    layer = Multiply(
        name,
        (a, b.tensor),
        output,
        factor=formula.factors[0],
        offset=formula.offset,
        shift=SHIFT,
        exceptions=formula.exceptions,
    )
    return layer, reader.value(node, 0).index


def _sigmoid(reader: Activations, node: Node, y: Quantization, name: str) -> Read:
    value = reader.value(node, 0)
    output = reader.tensor(node, name, value.tensor.shape, y)
    return Lookup(name, (value.tensor,), output, sigmoid_table(value.tensor.quantization, y)), value.index


OPERATORS: dict[str, Callable[[Activations, Node, Quantization, str], Read]] = {
    "Conv": read_convolution,
    "Gemm": read_dense,
    "MatMul": _product,
    "AveragePool": _mean_pool,
    "GlobalAveragePool": _mean_pool,
    "Add": _add,
    "Mul": _multiply,
    "Sigmoid": _sigmoid,
}
"""Operators that compute a new activation. Each returns its layer, and the index of the layer's output."""


def _max_pool(reader: Activations, node: Node, value: Value) -> Value:
    source = reader.channels_last(node)
    height, width, channels = source.shape
    attributes = node.attributes
    kernel, strides = tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", (1, 1)))
    unusual = any(attributes.get("pads", ())) or attributes.get("ceil_mode", 0)
    if unusual or set(attributes.get("dilations", (1,))) != {1}:
        raise unsupported(node, "padding, ceil_mode and dilations are not supported")
    rows, columns = count_windows(node, (height, width), kernel, strides)
    output = reader.tensor(node, node.outputs[0], (rows, columns, channels), source.quantization)
    reader.layers.append(MaxPool(node.outputs[0], (source,), output, kernel=kernel, strides=strides))
    return Value(output, channels_last_index(*output.shape))


def _transpose(reader: Activations, node: Node, value: Value) -> Value:
    order = node.attributes["perm"]
    if order[0] != 0 or len(order) != value.index.ndim + 1:
        raise unsupported(node, "it moves the batch")
    return dataclasses.replace(value, index=value.index.transpose([axis - 1 for axis in order[1:]]))


def _reshape(reader: Activations, node: Node, value: Value) -> Value:
    shape = reader.initializer(node, 1).tolist()
    if shape[0] not in (-1, 0) or -1 in shape[1:] or int(np.prod(shape[1:])) != value.index.size:
        raise unsupported(node, f"the shape {shape} does not keep one image a row")
    return dataclasses.replace(value, index=value.index.reshape(shape[1:]))


def _flatten(reader: Activations, node: Node, value: Value) -> Value:
    if node.attributes.get("axis", 1) != 1:
        raise unsupported(node, "it joins the batch with other axes")
    return dataclasses.replace(value, index=value.index.reshape(-1))


SCALE_PRESERVING: dict[str, Callable[[Activations, Node, Value], Value]] = {
    "MaxPool": _max_pool,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
}
"""Operators whose output has the scale of their input; they may stand before or after a QuantizeLinear."""
