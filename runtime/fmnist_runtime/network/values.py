"""Activations and constants of a graph while its layers are read, and access to them with checks."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fmnist_runtime.errors import ModelError
from fmnist_runtime.network.layers import Layer, Tensor
from fmnist_runtime.network.onnx_graph import Node

__all__ = ["Activations", "Constant", "Value", "channels_last_index", "unsupported"]


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A quantized activation in the graph."""

    tensor: Tensor
    """Buffer that holds it."""
    index: np.ndarray
    """Position of each element in the buffer, int64, in the graph's shape without the batch axis."""


class Constant(NamedTuple):
    """Integers of a constant with the arguments of its DequantizeLinear."""

    values: np.ndarray
    """int8, uint8 or int32, in the shape of the graph."""
    scale: np.ndarray
    """float32, a scalar or ``[outputs]``."""
    zero_point: np.ndarray
    """In the shape of ``scale`` and the dtype of ``values``."""


class Activations:
    """Values of the graph by name, up to the node that is being read."""

    def __init__(self, initializers: Mapping[str, np.ndarray], image: Value) -> None:
        self.initializers = initializers
        self.constants: dict[str, Constant] = {}
        self.values = {"image": image}
        self.layers: list[Layer] = []

    def initializer(self, node: Node, position: int) -> np.ndarray:
        """Returns the constant at input ``position`` of a node.

        Raises:
            ModelError: The input is missing, or is not a constant.
        """
        if len(node.inputs) <= position or node.inputs[position] not in self.initializers:
            raise unsupported(node, f"its input {position} must be a constant")
        return self.initializers[node.inputs[position]]

    def value(self, node: Node, position: int) -> Value:
        """Returns the quantized activation at input ``position`` of a node.

        Raises:
            ModelError: The input is not a quantized activation.
        """
        if node.inputs[position] not in self.values:
            raise unsupported(node, "it computes in float")
        return self.values[node.inputs[position]]

    def constant(self, node: Node, position: int, dtype: type) -> Constant:
        """Returns the dequantized constant at input ``position`` of a node.

        Raises:
            ModelError: The input is missing, is not a constant, or has another dtype than ``dtype``.
        """
        found = self.constants.get(node.inputs[position]) if len(node.inputs) > position else None
        if found is None or found.values.dtype != dtype:
            raise unsupported(node, f"its input {position} must be a constant of {np.dtype(dtype)}")
        return found

    def channels_last(self, node: Node, position: int = 0) -> Tensor:
        """Returns the activation at input ``position``, with the shape ``(height, width, channels)``.

        Raises:
            ModelError: The input does not have four axes, or its buffer has another order of axes.
        """
        value = self.value(node, position)
        if value.index.ndim != 3:
            raise unsupported(node, "its input must have four axes")
        channels, height, width = value.index.shape
        if not np.array_equal(value.index, channels_last_index(height, width, channels)):
            raise unsupported(node, "its input would have to be moved in memory first")
        return dataclasses.replace(value.tensor, shape=(height, width, channels))


def channels_last_index(height: int, width: int, channels: int) -> np.ndarray:
    """Returns the index of each element of ``[channels, height, width]`` in a buffer ``[height, width, channels]``, int64."""
    return np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1)


def unsupported(node: Node, reason: str) -> ModelError:
    """Returns the error for a node that has no implementation in integer arithmetic."""
    name = node.outputs[0] if node.outputs else node.name
    return ModelError(f"cannot run {node.op_type} '{name}' in integers: {reason}")
