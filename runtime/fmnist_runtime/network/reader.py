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


def read_network(data: bytes) -> Network:
    """Reads the layers of an int8 model.

    Args:
        data: Contents of an ONNX file, as ``fmnist-export --quantize`` writes it.

    Raises:
        ModelError: An operator without an integer form here; the message names it and its layer.
    """
    graph = read_graph(data)
    reader = _Reader(graph.initializers)
    try:
        for node in graph.nodes:
            reader.visit(node)
        return reader.finish()
    except (*MALFORMED, MemoryError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the graph is malformed ({reason_of(error)}); export it again") from error


class _Reader(Activations):
    """State of one pass over the nodes, which ONNX lists in order of execution."""

    def __init__(self, initializers: Mapping[str, np.ndarray]) -> None:
        pixels = np.arange(_RAW_IMAGE.size).reshape(1, IMAGE_SIZE, IMAGE_SIZE)
        super().__init__(initializers, Value(_RAW_IMAGE, pixels))
        self.pending: dict[str, Node] = {}
        """Nodes whose QuantizeLinear has not been read yet, by output name."""
        self.image: Tensor | None = None

    def visit(self, node: Node) -> None:
        """Reads one node."""
        if node.op_type == "DequantizeLinear":
            self._dequantize(node)
        elif node.op_type == "QuantizeLinear":
            self._quantize(node)
        elif node.op_type in SCALE_PRESERVING:
            value = self.value(node, 0)
            self.values[node.outputs[0]] = SCALE_PRESERVING[node.op_type](self, node, value)
        elif node.op_type == "Gemm" and node.outputs[0] == "logits":
            self.layers.append(read_logits(self, node))
        elif node.op_type in OPERATORS:
            self.pending[node.outputs[0]] = node
        elif node.op_type == "Relu" and node.inputs[0] in self.pending:
            self.pending[node.outputs[0]] = self.pending.pop(node.inputs[0])  # a zero point of 0 clamps at zero
        elif not (self.layers and isinstance(self.layers[-1], Logits) and node.op_type in ("Div", "Softmax")):
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

    def _dequantize(self, node: Node) -> None:
        source, (scale, zero_point) = node.inputs[0], (self.initializer(node, i) for i in (1, 2))
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
        scale, zero_point = (self.initializer(node, i) for i in (1, 2))
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
