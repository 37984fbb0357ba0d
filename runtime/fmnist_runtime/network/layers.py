"""Typed layers of an int8 network: output of the graph reader, and input of the C templates.

Activations are uint8 in channels-last order without a batch axis. Weights and sums are integers; the scales that turn a
sum into the next activation are float32, in the order of operations of onnxruntime's kernels.
"""

from dataclasses import dataclass, field

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
    "Tensor",
]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One activation: a buffer of bytes."""

    name: str
    """Name of the tensor in the ONNX graph."""
    shape: tuple[int, ...]
    """``(height, width, channels)`` or ``(features,)``."""
    scale: np.float32
    """Difference in real value between consecutive bytes."""
    zero_point: int
    """Byte that represents the real value 0, 0..255."""

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
    output: Tensor

    kind = "layer"
    in_place = False
    """Whether the output may overwrite an input of the same size."""

    @property
    def macs(self) -> int:
        """Multiplications with weights for one image."""
        return 0


@dataclass(frozen=True, eq=False)
class Convolution(Layer):
    """2-D convolution, or a dense layer as one of 1×1 on 1×1: https://onnx.ai/onnx/operators/onnx__QLinearConv.html.

    ``y = clamp(rint(float(bias + sum(weight * x)) * scale)) + zero_point``, rounding half to even.
    """

    weight: np.ndarray
    """int8 ``[outputs, kernel height, kernel width, inputs]``."""
    bias: np.ndarray
    """int32 ``[outputs]``, minus the input's zero point times the sum of the weights."""
    multiplier: np.ndarray
    """float32 ``[outputs]``: input scale times weight scale, divided by output scale."""
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""

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
    """Last dense layer, with float32 output: ``float(bias + sum(weight * x)) * scale``."""

    kind = "logits"


@dataclass(frozen=True, eq=False)
class Product(Layer):
    """Constant matrix times image, the fixed resize: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html."""

    matrix: np.ndarray
    """uint8 ``[rows, input height]``."""
    matrix_zero_point: int
    multiplier: np.float32

    kind = "product"

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return int(self.matrix.size) * self.inputs[0].size // self.inputs[0].shape[0]


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Largest value of each window: https://onnx.ai/onnx/operators/onnx__MaxPool.html."""

    kernel: tuple[int, int]
    strides: tuple[int, int]

    kind = "max_pool"


@dataclass(frozen=True, eq=False)
class MeanPool(Layer):
    """Mean over all positions: ``clamp(rint(float(sum(x) - positions * zero_point) * multiplier)) + zero_point``."""

    multiplier: np.float32

    kind = "mean_pool"


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """Sum of two activations, as integers: ``clamp((a * factors[0] + b * factors[1] + offset) >> shift)``.

    The numbers are chosen so that all 65,536 pairs of bytes give onnxruntime's QLinearAdd.
    """

    factors: tuple[int, int]
    offset: int
    shift: int
    exceptions: tuple[tuple[int, int, int], ...] = ()
    """Pairs whose result differs, ``(a, b, y)``: sums that lie on a half to the last bit of float32."""

    kind = "add"
    in_place = True


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """Product with one value for each channel: ``clamp(((a - za) * (b - zb) * factor + offset) >> shift)``.

    The numbers give onnxruntime's QLinearMul for all 65,536 pairs.
    """

    factor: int
    offset: int
    shift: int
    exceptions: tuple[tuple[int, int, int], ...] = ()

    kind = "multiply"
    in_place = True


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """Function of one byte, such as the sigmoid."""

    table: np.ndarray
    """uint8 ``[256]``."""

    kind = "lookup"
    in_place = True


@dataclass(frozen=True)
class Network:
    """All layers in order of execution; the first reads the image, the last one is ``Logits``."""

    image: Tensor
    layers: tuple[Layer, ...] = field(default=())

    @property
    def macs(self) -> int:
        """Multiplications with weights for one image."""
        return sum(layer.macs for layer in self.layers)


def _grid(tensor: Tensor) -> tuple[int, int, int]:
    if len(tensor.shape) == 1:
        return 1, 1, tensor.shape[0]
    height, width, channels = tensor.shape
    return height, width, channels
