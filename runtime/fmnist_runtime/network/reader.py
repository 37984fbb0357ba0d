"""Reads an int8 ONNX graph in QDQ form into typed layers.

A value is a buffer with an index: for each element in ONNX's order, its position in the buffer. Transposes and reshapes
only rearrange the index, so they cost nothing at run time.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from fmnist_runtime.errors import MALFORMED, ModelError, reason_of
from fmnist_runtime.network.convolutions import read_logits
from fmnist_runtime.network.layers import Logits, Network, Quantization, Tensor
from fmnist_runtime.network.onnx_graph import Node, read_graph
from fmnist_runtime.network.operators import OPERATORS, SCALE_PRESERVING
from fmnist_runtime.network.values import Activations, Constant, Value, unsupported
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["read_network"]

_RAW_IMAGE = Tensor("image", (IMAGE_SIZE, IMAGE_SIZE, 1), np.float32(1), 0)
"""The graph's input before its DequantizeLinear."""


def read_network(data: bytes, temperature: float | None = None) -> Network:
    """Reads the layers of an int8 model.

    Args:
        data: Contents of an ONNX file, as ``fmnist-export --quantize`` writes it.
        temperature: Temperature in the file's metadata; None: it is not compared with that of the graph.

    Raises:
        ModelError: An operator without an integer form here; the message names it and its layer. Or a network that is too
            large, or another temperature in the graph.
    """
    graph = read_graph(data)
    reader = _Reader(graph.initializers)
    try:
        with np.errstate(all="ignore"):  # a scale out of range is refused
            for node in graph.nodes:
                reader.visit(node)
            network = reader.finish()
    except (*MALFORMED, MemoryError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the graph is malformed ({reason_of(error)}); export it again") from error
    if temperature is not None and reader.temperature != np.float32(temperature):
        raise ModelError(
            f"the graph divides its logits by {reader.temperature:g}, its metadata by {temperature:g}; export it again"
        )
    return network


class _Reader(Activations):
    """State of one pass over the nodes, which ONNX lists in order of execution."""

    def __init__(self, initializers: Mapping[str, np.ndarray]) -> None:
        pixels = np.arange(_RAW_IMAGE.size).reshape(1, IMAGE_SIZE, IMAGE_SIZE)
        super().__init__(initializers, Value(_RAW_IMAGE, pixels))
        self.pending: dict[str, Node] = {}
        """Nodes whose QuantizeLinear has not been read yet, by output name."""
        self.image: Tensor | None = None
        self.temperature = np.float32(1)
        self.scaled = "logits"
        """Name of the logits, or of their quotient."""

    def visit(self, node: Node) -> None:
        """Reads one node."""
        if node.op_type == "DequantizeLinear":
            self._dequantize(node)
        elif node.op_type == "QuantizeLinear":
            self._quantize(node)
        elif node.op_type in SCALE_PRESERVING:
            value = SCALE_PRESERVING[node.op_type](self, node, self.value(node, 0))
            self.reserve(node, value.index.shape)
            self.values[node.outputs[0]] = value
        elif node.op_type == "Gemm" and node.outputs[0] == "logits":
            self.layers.append(read_logits(self, node))
        elif node.op_type in OPERATORS:
            self.pending[node.outputs[0]] = node
        elif node.op_type == "Relu" and node.inputs[0] in self.pending:
            self.pending[node.outputs[0]] = self.pending.pop(node.inputs[0])  # a zero point of 0 clamps at zero
        elif self.layers and isinstance(self.layers[-1], Logits) and node.op_type in ("Div", "Softmax"):
            self._scale_logits(node)
        else:
            raise unsupported(node, "there is no integer form of this operator")

    def finish(self) -> Network:
        """Returns the network.

        Raises:
            ModelError: A result is not quantized, or the last dense layer is missing.
        """
        for node in self.pending.values():
            raise unsupported(node, "it computes in float")
        if self.image is None or not self.layers or not isinstance(self.layers[-1], Logits):
            raise ModelError("the graph has no last dense layer 'logits' that reads integers; export with --quantize")
        return Network(self.image, tuple(self.layers))

    def _scale_logits(self, node: Node) -> None:
        """Reads the node after the logits, or the softmax at the end: both are computed by those who run the network."""
        if node.inputs[0] != self.scaled:
            raise unsupported(node, "it does not read the logits")
        if node.op_type == "Softmax":
            if node.attributes.get("axis", -1) not in (1, -1):
                raise unsupported(node, "it is not over the classes")
            return
        divisor = self.initializer(node, 1)
        if divisor.size != 1 or self.scaled != "logits":
            raise unsupported(node, "the logits have no single temperature")
        self.temperature, self.scaled = np.float32(divisor.item()), node.outputs[0]

    def _quantization(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """Returns scale and zero point of a QuantizeLinear or DequantizeLinear."""
        scale, zero_point = (self.initializer(node, i) for i in (1, 2))
        if scale.dtype != np.float32 or not (np.isfinite(scale) & (scale > 0)).all():
            raise unsupported(node, "its scale must be positive and finite, in float32")
        return scale, zero_point

    def _dequantize(self, node: Node) -> None:
        source, (scale, zero_point) = node.inputs[0], self._quantization(node)
        if source in self.initializers:
            self.constants[node.outputs[0]] = Constant(self.initializers[source], scale, zero_point)
            return
        value = self.value(node, 0)
        if value.tensor is _RAW_IMAGE:  # the first DequantizeLinear after the input has the scale of the image
            self.image = dataclasses.replace(_RAW_IMAGE, scale=np.float32(scale), zero_point=int(zero_point))
            value = dataclasses.replace(value, tensor=self.image)
        self._require_same(node, value.tensor, Quantization(np.float32(scale), int(zero_point)))
        self.values[node.outputs[0]] = value

    def _quantize(self, node: Node) -> None:
        scale, zero_point = self._quantization(node)
        if scale.size != 1 or zero_point.dtype != np.uint8:
            raise unsupported(node, "activations must be uint8 with one scale")
        quantization = Quantization(np.float32(scale), int(zero_point))
        source = node.inputs[0]
        if source in self.values:  # the result of an operator of SCALE_PRESERVING
            self._require_same(node, self.values[source].tensor, quantization)
            self.values[node.outputs[0]] = self.values[source]
        elif source in self.pending:
            computed = self.pending.pop(source)
            layer, index = OPERATORS[computed.op_type](self, computed, quantization, source)
            self.layers.append(layer)
            self.values[node.outputs[0]] = Value(layer.output, index)
        else:
            raise unsupported(node, "its input is in float")

    @staticmethod
    def _require_same(node: Node, tensor: Tensor, quantization: Quantization) -> None:
        if tensor.quantization != quantization:
            raise unsupported(node, "it changes the scale of an activation")
