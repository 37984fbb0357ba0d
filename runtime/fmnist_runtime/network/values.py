"""Activations and constants of a graph while its layers are read, and access to them with checks."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fmnist_runtime.errors import ModelError
from fmnist_runtime.network.layers import Layer, Tensor
from fmnist_runtime.network.onnx_graph import Node

__all__ = ["Activations", "Constant", "Quantization", "Value", "channels_last_index", "unsupported"]


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A quantized activation in the graph."""

    tensor: Tensor
    index: np.ndarray
    """Position in the buffer of each element, in the shape that the graph gives it, without the batch."""


class Constant(NamedTuple):
    """A dequantized constant."""

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray


class Quantization(NamedTuple):
    """Scale and zero point of an activation."""

    scale: np.float32
    zero_point: int


class Activations:
    """Values of the graph by name, as far as it has been read."""

    def __init__(self, initializers: Mapping[str, np.ndarray], image: Value) -> None:
        self.initializers = initializers
        self.constants: dict[str, Constant] = {}
        self.values = {"image": image}
        self.layers: list[Layer] = []

    def initializer(self, node: Node, place: int) -> np.ndarray:
        """Returns the constant at input ``place`` of a node.

        Raises:
            ModelError: The input is missing, or is not a constant.
        """
        if len(node.inputs) <= place or node.inputs[place] not in self.initializers:
            raise unsupported(node, f"its input {place} must be a constant")
        return self.initializers[node.inputs[place]]

    def value(self, node: Node, place: int) -> Value:
        """Returns the quantized activation at input ``place`` of a node.

        Raises:
            ModelError: The input is not a quantized activation.
        """
        if node.inputs[place] not in self.values:
            raise unsupported(node, "it computes in float")
        return self.values[node.inputs[place]]

    def constant(self, node: Node, place: int, dtype: type) -> Constant:
        """Returns a dequantized constant of the given integer type."""
        found = self.constants.get(node.inputs[place]) if len(node.inputs) > place else None
        if found is None or found.values.dtype != dtype:
            raise unsupported(node, f"its input {place} must be a constant of {np.dtype(dtype)}")
        return found

    def channels_last(self, node: Node, place: int = 0) -> Tensor:
        """Returns an input whose buffer is in the order height, width, channels, with these three as its shape."""
        value = self.value(node, place)
        if value.index.ndim != 3:
            raise unsupported(node, "its input must have four axes")
        channels, height, width = value.index.shape
        if not np.array_equal(value.index, channels_last_index(height, width, channels)):
            raise unsupported(node, "its input would have to be moved in memory first")
        return dataclasses.replace(value.tensor, shape=(height, width, channels))


def channels_last_index(height: int, width: int, channels: int) -> np.ndarray:
    """Returns, for each place of ``[channels, height, width]``, its index in the order height, width, channels."""
    return np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1)


def unsupported(node: Node, reason: str) -> ModelError:
    """Returns the error for a node that has no implementation in integer arithmetic."""
    name = node.outputs[0] if node.outputs else node.name
    return ModelError(f"cannot run {node.op_type} '{name}' in integers: {reason}")
