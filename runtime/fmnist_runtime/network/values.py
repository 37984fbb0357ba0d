"""Activations and constants of a graph while its layers are read, and access to them with checks."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fmnist_runtime.errors import ModelError
from fmnist_runtime.network.layers import Layer, Quantization, Tensor
from fmnist_runtime.network.onnx_graph import Node

__all__ = ["Activations", "Constant", "Value", "channels_last_index", "count_windows", "require_finite", "unsupported"]

MAX_VALUES = 1 << 23
"""Most values of all activations and weights of a network together. Our largest has 700,000, and a page or a microcontroller
holds all its weights at once. Reading a network takes some ten bytes of memory for each value."""


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
        self._left = MAX_VALUES
        self._names = {"image"}

    def reserve(self, node: Node, shape: Sequence[int]) -> None:
        """Counts the values of an array, before it takes memory.

        Raises:
            ModelError: It is empty, or the network has more than ``MAX_VALUES`` with it.
        """
        if min(shape, default=1) < 1:
            raise unsupported(node, "a result or its weights are empty")
        self._left -= math.prod(shape)
        if self._left < 0:
            raise unsupported(node, f"the network has more than {MAX_VALUES:,} activations and weights")

    def tensor(self, node: Node, name: str, shape: tuple[int, ...], y: Quantization) -> Tensor:
        """Returns the activation that a node writes; its memory is counted.

        Raises:
            ModelError: Another activation has this name, or see ``reserve``.
        """
        if name in self._names:
            raise unsupported(node, "another result has its name")
        self._names.add(name)
        self.reserve(node, shape)
        return Tensor(name, shape, y.scale, y.zero_point)

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


def count_windows(
    node: Node, size: tuple[int, int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int] = (0, 0, 0, 0)
) -> tuple[int, int]:
    """Returns the numbers of windows of a kernel in both directions; under 1 where the kernel is larger than the input.

    Args:
        node: Node of the windows.
        size: Height and width of the input.
        kernel: Height and width of a window.
        strides: Rows and columns between two windows.
        pads: Top, left, bottom and right.

    Raises:
        ModelError: A number is missing or out of range.
    """
    whole = len(kernel) == len(strides) == 2 and len(pads) == 4
    if not whole or min(*kernel, *strides) < 1 or min(pads) < 0 or max(strides) > MAX_VALUES:
        raise unsupported(node, "its kernel, strides or pads are out of range")
    height, width = ((size[i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i in (0, 1))
    return height, width


def require_finite(node: Node, multiplier: np.ndarray | np.float32) -> None:
    """Checks the quotient of a node's scales.

    Raises:
        ModelError: It is larger than any float32.
    """
    if not np.isfinite(multiplier).all():
        raise unsupported(node, "its scales are out of range")


def unsupported(node: Node, reason: str) -> ModelError:
    """Returns the error for a node that has no implementation in integer arithmetic."""
    name = node.outputs[0] if node.outputs else node.name
    return ModelError(f"cannot run {node.op_type} '{name}' in integers: {reason}")
