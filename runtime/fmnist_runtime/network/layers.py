"""Typed layers of an int8 network: output of the graph reader, and input of the C templates.

Activations are uint8 in channels-last order without a batch axis. Weights and sums are integers; the scales that turn a
sum into the next activation are float32, in the order of operations of onnxruntime's kernels.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = [
    "Add",
    "Convolution",
    "Layer",
    "Logits",
    "Lookup",
    "MaxPool",
    "MeanPool",
    "Multiply",
    "Network",
    "Product",
    "Quantization",
    "Tensor",
]


class Quantization(NamedTuple):
    """Scale and zero point of an activation: its real value is ``scale * (byte - zero_point)``."""

    scale: np.float32
    """Difference in real value between consecutive bytes."""
    zero_point: int
    """Byte that represents the real value 0, 0..255."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One activation: a buffer of uint8 values."""

    name: str
    """Name of the tensor in the ONNX graph."""
    shape: tuple[int, ...]
    """``(height, width, channels)`` or ``(features,)``."""
    scale: np.float32
    """See ``Quantization``."""
    zero_point: int
    """See ``Quantization``."""

    @property
    def quantization(self) -> Quantization:
        """Scale and zero point."""
        return Quantization(self.scale, self.zero_point)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Layer:
    """Base of all layers: reads ``inputs``, writes ``output``."""

    name: str
    """Name of the node's output in the graph, as ``fmnist-export inspect`` lists it."""
    inputs: tuple[Tensor, ...]
    """Activations that the layer reads."""
    output: Tensor
    """Activation that the layer writes."""

    kind = "layer"
    """Name of the layer type in the C templates and in ``program._KINDS``."""
    in_place = False
    """Whether the output may overwrite an input of the same size."""

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return 0


@dataclass(frozen=True, eq=False)
class Convolution(Layer):
    """2-D convolution (https://onnx.ai/onnx/operators/onnx__QLinearConv.html), or a dense layer as a 1×1 convolution.

    ``y = clamp(rint(float(bias + sum(weight * x)) * multiplier) + zero_point)``, rounding half to even.
    """

    weight: np.ndarray
    """int8 ``[outputs, kernel height, kernel width, inputs]``."""
    bias: np.ndarray
    """int32 ``[outputs]``: bias of the graph minus the input's zero point times the sum of the weights."""
    multiplier: np.ndarray
    """float32 ``[outputs]``: input scale times weight scale, divided by output scale."""
    strides: tuple[int, int] = (1, 1)
    """Rows and columns."""
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom and right, in pixels."""

    kind = "convolution"

    @property
    def grid(self) -> tuple[int, int, int]:
        """Height, width and channels of the input."""
        return _grid(self.inputs[0])

    @property
    def output_grid(self) -> tuple[int, int, int]:
        """Height, width and channels of the output."""
        return _grid(self.output)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return self.output_grid[0] * self.output_grid[1] * self.weight.size


@dataclass(frozen=True, eq=False)
class Logits(Convolution):
    """Last dense layer, with float32 output: ``float(bias + sum(weight * x)) * multiplier``."""

    kind = "logits"


@dataclass(frozen=True, eq=False)
class Product(Layer):
    """Product of a constant matrix and the image, the fixed resize.

    See https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html.
    """

    matrix: np.ndarray
    """uint8 ``[rows, input height]``."""
    matrix_zero_point: int
    """Byte of the matrix that represents 0."""
    multiplier: np.float32
    """Scale of the matrix times input scale, divided by output scale."""

    kind = "product"

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return int(self.matrix.size) * self.inputs[0].size // self.inputs[0].shape[0]


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Largest value of each window: https://onnx.ai/onnx/operators/onnx__MaxPool.html."""

    kernel: tuple[int, int]
    """Height and width of a window."""
    strides: tuple[int, int]
    """Rows and columns between two windows."""

    kind = "max_pool"


@dataclass(frozen=True, eq=False)
class MeanPool(Layer):
    """Mean over all positions: ``clamp(rint(float(sum(x) - positions * zero_point) * multiplier) + zero_point)``."""

    multiplier: np.float32
    """Input scale, divided by output scale and by the number of positions."""

    kind = "mean_pool"


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """Sum of two activations, as integers: ``clamp((a * factors[0] + b * factors[1] + offset) >> shift)``.

    All 65,536 pairs of bytes give the result of onnxruntime's QLinearAdd; see ``fixed_point.py``.
    """

    factors: tuple[int, int]
    """Factors of ``a`` and ``b``, 64-bit integers."""
    offset: int
    """64-bit integer."""
    shift: int
    """Fractional bits of the sum."""
    exceptions: tuple[tuple[int, int, int], ...] = ()
    """Pairs of bytes with another result, ``(a, b, y)``: their float32 sum lies halfway between two integers."""

    kind = "add"
    in_place = True


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """Product with one value for each channel: ``clamp(((a - za) * (b - zb) * factor + offset) >> shift)``.

    ``za`` and ``zb`` are the zero points. All 65,536 pairs of bytes give the result of onnxruntime's QLinearMul.
    """

    factor: int
    """64-bit integer."""
    offset: int
    """See ``Add``."""
    shift: int
    """See ``Add``."""
    exceptions: tuple[tuple[int, int, int], ...] = ()
    """See ``Add``."""

    kind = "multiply"
    in_place = True


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """Function of one byte, such as the sigmoid."""

    table: np.ndarray
    """uint8 ``[256]``: result of each byte."""

    kind = "lookup"
    in_place = True


@dataclass(frozen=True)
class Network:
    """Layers of an int8 model."""

    image: Tensor
    """Input, ``(28, 28, 1)``."""
    layers: tuple[Layer, ...] = field(default=())
    """Layers in order of execution; the first reads ``image``, the last one is ``Logits``."""

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return sum(layer.macs for layer in self.layers)


def _grid(tensor: Tensor) -> tuple[int, int, int]:
    if len(tensor.shape) == 1:
        return 1, 1, tensor.shape[0]
    height, width, channels = tensor.shape
    return height, width, channels
