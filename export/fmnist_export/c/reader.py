"""Reads an int8 ONNX graph in QDQ form into typed layers.

Each operator has one function, listed in ``_OPERATORS``. A value is a buffer with an index that gives, for each logical
element in ONNX's order, its position in the buffer; so transposes and reshapes are index arithmetic and cost nothing.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from fmnist_export.c.layers import (
    Add,
    Convolution,
    Layer,
    Logits,
    Lookup,
    MaxPool,
    MeanPool,
    Multiply,
    Network,
    Product,
    Tensor,
)
from fmnist_export.c.pairs import SHIFT, add_formula, multiply_formula, sigmoid_table
from fmnist_export.quantization.first_conv import narrow_first_convolution
from fmnist_runtime.errors import ModelError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["read_network"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Value:
    """A quantized activation in the graph."""

    tensor: Tensor
    index: np.ndarray
    """Position in the buffer of each element, in the shape that the graph gives it, without the batch."""


class _Constant(NamedTuple):
    """A dequantized constant."""

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray


class _Quantization(NamedTuple):
    scale: np.float32
    zero_point: int


_RAW_IMAGE = Tensor("image", (IMAGE_SIZE, IMAGE_SIZE, 1), np.float32(1), 0)
"""The graph's input before its DequantizeLinear."""


def read_network(model: ModelProto) -> Network:
    """Reads the layers of an int8 model.

    Args:
        model: as ``fmnist-export --quantize`` writes it; it stays unchanged.

    Raises:
        ModelError: an operator that cannot be written as C; the message names it and its layer.
    """
    model = copy.deepcopy(model)
    narrow_first_convolution(model)
    reader = _Reader(model)
    for node in model.graph.node:
        reader.visit(node)
    return reader.finish()


class _Reader:
    """State of one pass over the nodes, which ONNX lists in order of execution."""

    def __init__(self, model: ModelProto) -> None:
        self.initializers = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.constants: dict[str, _Constant] = {}
        pixels = np.arange(_RAW_IMAGE.size).reshape(1, IMAGE_SIZE, IMAGE_SIZE)
        self.values = {"image": _Value(_RAW_IMAGE, pixels)}
        self.pending: dict[str, NodeProto] = {}
        """Nodes whose result waits for its QuantizeLinear, by output."""
        self.layers: list[Layer] = []
        self.image: Tensor | None = None

    def visit(self, node: NodeProto) -> None:
        """Reads one node."""
        if node.op_type == "DequantizeLinear":
            self._dequantize(node)
        elif node.op_type == "QuantizeLinear":
            self._quantize(node)
        elif node.op_type in _MOVES:
            value = self.value(node, 0)
            self.values[node.output[0]] = _MOVES[node.op_type](self, node, value)
        elif node.op_type == "Gemm" and node.output[0] == "logits":
            self.layers.append(_logits(self, node))
        elif node.op_type in _OPERATORS:
            self.pending[node.output[0]] = node
        elif node.op_type == "Relu" and node.input[0] in self.pending:
            self.pending[node.output[0]] = self.pending.pop(node.input[0])  # a zero point of 0 clamps at zero
        elif not (self.layers and isinstance(self.layers[-1], Logits) and node.op_type in ("Div", "Softmax")):
            raise _unsupported(node, "there is no C for this operator")

    def finish(self) -> Network:
        """Returns what was read.

        Raises:
            ModelError: a value that was never quantized, or no last layer.
        """
        for node in self.pending.values():
            raise _unsupported(node, "it computes in float")
        if self.image is None or not self.layers or not isinstance(self.layers[-1], Logits):
            raise ModelError("the graph has no last dense layer 'logits' that reads integers; export with --quantize")
        return Network(self.image, tuple(self.layers))

    def _dequantize(self, node: NodeProto) -> None:
        source, (scale, zero_point) = node.input[0], (self.initializer(node, i) for i in (1, 2))
        if source in self.initializers:
            self.constants[node.output[0]] = _Constant(self.initializers[source], scale, zero_point)
            return
        value = self.value(node, 0)
        if value.tensor is _RAW_IMAGE:  # the first scale on the way is the image's
            self.image = dataclasses.replace(_RAW_IMAGE, scale=np.float32(scale), zero_point=int(zero_point))
            value = dataclasses.replace(value, tensor=self.image)
        self._require_same(node, value.tensor, _Quantization(np.float32(scale), int(zero_point)))
        self.values[node.output[0]] = value

    def _quantize(self, node: NodeProto) -> None:
        scale, zero_point = (self.initializer(node, i) for i in (1, 2))
        if scale.size != 1 or zero_point.dtype != np.uint8:
            raise _unsupported(node, "activations must be uint8 with one scale")
        quantization = _Quantization(np.float32(scale), int(zero_point))
        source = node.input[0]
        if source in self.values:  # moved, not computed
            self._require_same(node, self.values[source].tensor, quantization)
            self.values[node.output[0]] = self.values[source]
        elif source in self.pending:
            computed = self.pending.pop(source)
            layer, index = _OPERATORS[computed.op_type](self, computed, quantization, source)
            self.layers.append(layer)
            self.values[node.output[0]] = _Value(layer.output, index)
        else:
            raise _unsupported(node, "its input is in float")

    def initializer(self, node: NodeProto, place: int) -> np.ndarray:
        """Returns an input that is a constant."""
        if len(node.input) <= place or node.input[place] not in self.initializers:
            raise _unsupported(node, f"its input {place} must be a constant")
        return self.initializers[node.input[place]]

    def value(self, node: NodeProto, place: int) -> _Value:
        """Returns an input that is a quantized activation."""
        if node.input[place] not in self.values:
            raise _unsupported(node, "it computes in float")
        return self.values[node.input[place]]

    def constant(self, node: NodeProto, place: int, dtype: type) -> _Constant:
        """Returns a dequantized constant of the given integer type."""
        found = self.constants.get(node.input[place]) if len(node.input) > place else None
        if found is None or found.values.dtype != dtype:
            raise _unsupported(node, f"its input {place} must be a constant of {np.dtype(dtype)}")
        return found

    def channels_last(self, node: NodeProto, place: int = 0) -> Tensor:
        """Returns an input whose buffer is in the order height, width, channels, with these three as its shape."""
        value = self.value(node, place)
        if value.index.ndim != 3:
            raise _unsupported(node, "its input must have four axes")
        channels, height, width = value.index.shape
        if not np.array_equal(value.index, _channels_last_index(height, width, channels)):
            raise _unsupported(node, "its input would have to be moved in memory first")
        return dataclasses.replace(value.tensor, shape=(height, width, channels))

    @staticmethod
    def _require_same(node: NodeProto, tensor: Tensor, quantization: _Quantization) -> None:
        if (tensor.scale, tensor.zero_point) != quantization:
            raise _unsupported(node, "it changes the scale of an activation")


Read = tuple[Layer, np.ndarray]


def _convolution(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    source = reader.channels_last(node)
    height, width, channels = source.shape
    about = _attributes(node)
    kernel = reader.constant(node, 1, np.int8)
    groups, strides = about.get("group", 1), tuple(about.get("strides", (1, 1)))
    pads = tuple(about.get("pads", (0, 0, 0, 0)))
    if about.get("auto_pad", b"NOTSET") != b"NOTSET" or set(about.get("dilations", (1,))) != {1}:
        raise _unsupported(node, "automatic padding and dilations are not written")
    weight = _dense_groups(kernel.values, groups).transpose(0, 2, 3, 1)
    if weight.shape[3] != channels:
        raise _unsupported(node, f"its weights take {weight.shape[3]} channels, its input has {channels}")
    sizes = [
        (size + pads[i] + pads[i + 2] - weight.shape[1 + i]) // strides[i] + 1 for i, size in enumerate((height, width))
    ]
    output = Tensor(name, (sizes[0], sizes[1], len(weight)), y.scale, y.zero_point)
    bias, multiplier = _fold(reader, node, weight, kernel, source, y.scale)
    layer = Convolution(name, (source,), output, weight, bias, multiplier, strides, pads)
    return layer, _channels_last_index(*output.shape)


def _dense(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    source, weight, kernel = _dense_parts(reader, node)
    bias, multiplier = _fold(reader, node, weight, kernel, source, y.scale)
    output = Tensor(name, (len(weight),), y.scale, y.zero_point)
    return Convolution(name, (source,), output, weight, bias, multiplier), np.arange(output.size)


def _logits(reader: _Reader, node: NodeProto) -> Layer:
    source, weight, kernel = _dense_parts(reader, node)
    bias, multiplier = _fold(reader, node, weight, kernel, source, None)
    return Logits(
        node.output[0], (source,), Tensor("logits", (len(weight),), np.float32(1), 0), weight, bias, multiplier
    )


def _dense_parts(reader: _Reader, node: NodeProto) -> tuple[Tensor, np.ndarray, _Constant]:
    value, kernel, about = reader.value(node, 0), reader.constant(node, 1, np.int8), _attributes(node)
    if (about.get("alpha", 1.0), about.get("beta", 1.0), about.get("transA", 0)) != (1.0, 1.0, 0):
        raise _unsupported(node, "alpha, beta and transA are not written")
    weight = kernel.values if about.get("transB", 0) else kernel.values.T
    if value.index.ndim != 1 or weight.shape[1] != value.index.size or value.index.size != value.tensor.size:
        raise _unsupported(node, "its input must be a flat activation")
    ordered = np.empty_like(weight)
    ordered[:, value.index] = weight
    return dataclasses.replace(value.tensor, shape=(value.tensor.size,)), ordered[:, None, None, :], kernel


def _product(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    matrix = reader.constant(node, 0, np.uint8)
    source = reader.channels_last(node, 1)
    height, width, channels = source.shape
    if matrix.values.ndim != 2 or matrix.values.shape[1] != height or channels != 1 or matrix.scale.size != 1:
        raise _unsupported(node, "only a constant matrix times one channel is written")
    output = Tensor(name, (len(matrix.values), width, 1), y.scale, y.zero_point)
    multiplier = np.float32(np.float32(matrix.scale) * source.scale) / y.scale
    layer = Product(name, (source,), output, matrix.values, int(matrix.zero_point), np.float32(multiplier))
    return layer, _channels_last_index(*output.shape)


def _mean_pool(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    source = reader.channels_last(node)
    height, width, channels = source.shape
    about = _attributes(node)
    everything = node.op_type == "GlobalAveragePool" or tuple(about["kernel_shape"]) == (height, width)
    if not everything or any(about.get("pads", ())) or about.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise _unsupported(node, "only the mean over all positions is written")
    output = Tensor(name, (1, 1, channels), y.scale, y.zero_point)
    # onnxruntime's MlasQLinearGlobalAveragePool: scale of the input over (scale of the output times positions)
    multiplier = np.float32(source.scale / np.float32(y.scale * np.float32(height * width)))
    return MeanPool(name, (source,), output, multiplier), np.arange(channels).reshape(channels, 1, 1)


def _add(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    a, b = (reader.value(node, place) for place in (0, 1))
    if a.index.shape != b.index.shape or not np.array_equal(a.index, b.index):
        raise _unsupported(node, "both inputs must be activations of one shape and order")
    formula = add_formula(_of(a.tensor), _of(b.tensor), (y.scale, y.zero_point))
    output = Tensor(name, a.tensor.shape, y.scale, y.zero_point)
    left, right = formula.factors
    return Add(name, (a.tensor, b.tensor), output, (left, right), formula.offset, SHIFT, formula.exceptions), a.index


def _multiply(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    a = reader.channels_last(node, 0)
    b = reader.value(node, 1)
    if b.index.shape != (a.shape[2], 1, 1):
        raise _unsupported(node, "only a product with one value for each channel is written")
    formula = multiply_formula(_of(a), _of(b.tensor), (y.scale, y.zero_point))
    output = Tensor(name, a.shape, y.scale, y.zero_point)
    layer = Multiply(name, (a, b.tensor), output, formula.factors[0], formula.offset, SHIFT, formula.exceptions)
    return layer, reader.value(node, 0).index


def _sigmoid(reader: _Reader, node: NodeProto, y: _Quantization, name: str) -> Read:
    value = reader.value(node, 0)
    output = Tensor(name, value.tensor.shape, y.scale, y.zero_point)
    return Lookup(name, (value.tensor,), output, sigmoid_table(_of(value.tensor), (y.scale, y.zero_point))), value.index


_OPERATORS: dict[str, Callable[[_Reader, NodeProto, _Quantization, str], Read]] = {
    "Conv": _convolution,
    "Gemm": _dense,
    "MatMul": _product,
    "AveragePool": _mean_pool,
    "GlobalAveragePool": _mean_pool,
    "Add": _add,
    "Mul": _multiply,
    "Sigmoid": _sigmoid,
}
"""Operators that compute a new activation. Each returns its layer, and the index of the layer's output."""


def _max_pool(reader: _Reader, node: NodeProto, value: _Value) -> _Value:
    source = reader.channels_last(node)
    height, width, channels = source.shape
    about = _attributes(node)
    kernel, strides = tuple(about["kernel_shape"]), tuple(about.get("strides", (1, 1)))
    if any(about.get("pads", ())) or about.get("ceil_mode", 0) or set(about.get("dilations", (1,))) != {1}:
        raise _unsupported(node, "padding, ceil_mode and dilations are not written")
    sizes = [(size - kernel[i]) // strides[i] + 1 for i, size in enumerate((height, width))]
    output = Tensor(node.output[0], (sizes[0], sizes[1], channels), source.scale, source.zero_point)
    reader.layers.append(MaxPool(node.output[0], (source,), output, kernel, strides))
    return _Value(output, _channels_last_index(*output.shape))


def _transpose(reader: _Reader, node: NodeProto, value: _Value) -> _Value:
    order = _attributes(node)["perm"]
    if order[0] != 0 or len(order) != value.index.ndim + 1:
        raise _unsupported(node, "it moves the batch")
    return dataclasses.replace(value, index=value.index.transpose([axis - 1 for axis in order[1:]]))


def _reshape(reader: _Reader, node: NodeProto, value: _Value) -> _Value:
    shape = reader.initializer(node, 1).tolist()
    if shape[0] not in (-1, 0) or -1 in shape[1:] or int(np.prod(shape[1:])) != value.index.size:
        raise _unsupported(node, f"the shape {shape} does not keep one image a row")
    return dataclasses.replace(value, index=value.index.reshape(shape[1:]))


def _flatten(reader: _Reader, node: NodeProto, value: _Value) -> _Value:
    if _attributes(node).get("axis", 1) != 1:
        raise _unsupported(node, "it joins the batch with other axes")
    return dataclasses.replace(value, index=value.index.reshape(-1))


_MOVES: dict[str, Callable[[_Reader, NodeProto, _Value], _Value]] = {
    "MaxPool": _max_pool,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
}
"""Operators that keep the scale of their input, before or after its QuantizeLinear."""


def _fold(
    reader: _Reader, node: NodeProto, weight: np.ndarray, kernel: _Constant, source: Tensor, y_scale: np.float32 | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bias with the input's zero point folded in, and the float32 factor of the sum, for each output."""
    if kernel.zero_point.any():
        raise _unsupported(node, "weights must be symmetric")
    sums = weight.astype(np.int64).sum(axis=(1, 2, 3))
    bias = reader.constant(node, 2, np.int32).values.astype(np.int64) if len(node.input) > 2 else 0
    folded = bias - source.zero_point * sums
    if (np.abs(folded) + 255 * np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3))).max() >= 2**31:
        raise _unsupported(node, "its sums may exceed 32 bits")
    scale = np.broadcast_to(np.float32(source.scale) * kernel.scale.astype(np.float32), len(weight))
    multiplier = scale if y_scale is None else scale / np.float32(y_scale)
    return folded.astype(np.int32), multiplier.astype(np.float32)


def _dense_groups(weight: np.ndarray, groups: int) -> np.ndarray:
    """Returns grouped weights ``[O, I / groups, h, w]`` as ``[O, I, h, w]``, with zeros between groups."""
    outputs, inputs = weight.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _channels_last_index(height: int, width: int, channels: int) -> np.ndarray:
    return np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1)


def _of(tensor: Tensor) -> tuple[np.float32, int]:
    return tensor.scale, tensor.zero_point


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _unsupported(node: NodeProto, reason: str) -> ModelError:
    name = node.output[0] if node.output else node.name
    return ModelError(f"cannot write {node.op_type} '{name}' as C: {reason}")
