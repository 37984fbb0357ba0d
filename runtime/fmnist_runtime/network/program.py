"""Writes a network as data for the page's kernels: constants and layer records, read by ``runtime/kernels/kernels.c``.

One block of memory holds everything: first the activations, which do not overlap, then constants and records. All numbers
are little-endian, as in WebAssembly.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fmnist_runtime.network.layers import (
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
)

__all__ = ["Program", "write_program"]

BLOCK = 8
"""Output channels that a convolution computes at a time, as in ``kernels.c``."""
_ALIGNMENT = 16
"""Bytes of a SIMD register."""


class Program(NamedTuple):
    """A network in the form that the kernels execute."""

    data: bytes
    """Constants and records; they are loaded at the offset ``activations`` of the network's memory."""
    activations: int
    """Bytes of memory for the activations, before the data."""
    image: int
    """Offset of the input, uint8 ``[28, 28]``."""
    logits: int
    """Offset of the output, float32 ``[classes]``."""
    layers: int
    """Offset of the first record."""


def write_program(network: Network) -> Program:
    """Returns a network's constants and records, and their memory offsets."""
    writer = _Writer(network)
    records = b"".join(_record(writer, layer) for layer in network.layers) + struct.pack("<ii", 0, 8)
    layers = writer.constant(np.frombuffer(records, np.uint8))
    return Program(
        data=bytes(writer.data),
        activations=writer.activations,
        image=writer.offsets["image"],
        logits=writer.offsets["logits"],
        layers=layers,
    )


class _Writer:
    """Memory offsets of all activations, and the constants written so far."""

    def __init__(self, network: Network) -> None:
        sizes = {"image": network.image.size}
        for layer in network.layers:
            sizes[layer.output.name] = layer.output.size * (4 if isinstance(layer, Logits) else 1)
        convolutions = [layer for layer in network.layers if isinstance(layer, Convolution)]
        self.offsets: dict[str, int] = {}
        self.activations = 0
        for name, size in sizes.items():
            self.offsets[name] = self._place(size)
        self.padded = self._place(max(2 * int(np.prod(_padded(layer))) for layer in convolutions))
        self.data = bytearray()

    def _place(self, size: int) -> int:
        """Returns the offset of a further buffer of activations."""
        offset = self.activations
        self.activations += _align(size + _ALIGNMENT)  # kernels read pairs of values, up to two bytes past the end
        return offset

    def constant(self, values: np.ndarray) -> int:
        """Appends an array and returns its offset in memory."""
        self.data += bytes(_align(len(self.data)) - len(self.data))
        offset = self.activations + len(self.data)
        self.data += values.astype(values.dtype.newbyteorder("<")).tobytes()
        return offset

    def tensor_offsets(self, layer: Layer) -> tuple[int, ...]:
        """Returns the memory offsets of a layer's inputs and of its output."""
        return (*(self.offsets[tensor.name] for tensor in layer.inputs), self.offsets[layer.output.name])


def _align(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _record(writer: _Writer, layer: Layer) -> bytes:
    kind, layout, fields = _KINDS[layer.kind]
    content = struct.pack("<" + layout, *fields(writer, layer))
    content += bytes(-len(content) % 8)
    return struct.pack("<ii", kind, 8 + len(content)) + content


def _padded(layer: Convolution) -> tuple[int, int, int]:
    """Returns height, width and channels of the padded input."""
    height, width, channels = layer.grid
    top, left, bottom, right = layer.pads
    return height + top + bottom, width + left + right, channels


def _convolution(writer: _Writer, layer: Convolution) -> tuple[Any, ...]:
    rows, columns, channels = layer.weight.shape[1:]
    pairs = -(-columns * channels // 2)
    extra = -len(layer.weight) % BLOCK
    return (
        *writer.tensor_offsets(layer),
        writer.padded,
        writer.constant(_pack(layer.weight, pairs)),
        writer.constant(np.pad(layer.bias, (0, extra))),
        writer.constant(np.pad(layer.multiplier, (0, extra))),
        *layer.grid,
        *layer.output_grid,
        *layer.pads[:2],
        *_padded(layer)[:2],
        rows,
        pairs,
        *layer.strides,
        layer.inputs[0].zero_point,
        layer.output.zero_point,
    )


def _pack(weight: np.ndarray, pairs: int) -> np.ndarray:
    """Returns int8 weights as ``[blocks, kernel rows, pairs, BLOCK, 2]``, padded with zeros."""
    outputs, rows, columns, channels = weight.shape
    padded = np.zeros((outputs + -outputs % BLOCK, rows, 2 * pairs), np.int8)
    padded[:outputs, :, : columns * channels] = weight.reshape(outputs, rows, columns * channels)
    return padded.reshape(-1, BLOCK, rows, pairs, 2).transpose(0, 2, 3, 1, 4)


def _logits(writer: _Writer, layer: Logits) -> tuple[Any, ...]:
    constants = (writer.constant(values) for values in (layer.weight, layer.bias, layer.multiplier))
    return (*writer.tensor_offsets(layer), *constants, layer.inputs[0].size, layer.output.size)


def _product(writer: _Writer, layer: Product) -> tuple[Any, ...]:
    points = (layer.matrix_zero_point, layer.inputs[0].zero_point, layer.output.zero_point)
    rows, height = layer.matrix.shape
    matrix = writer.constant(layer.matrix)
    return (*writer.tensor_offsets(layer), matrix, rows, height, layer.output.shape[1], *points, layer.multiplier)


def _max_pool(writer: _Writer, layer: MaxPool) -> tuple[Any, ...]:
    out_height, out_width, channels = layer.output.shape
    width = layer.inputs[0].shape[1]
    return (*writer.tensor_offsets(layer), width, channels, out_height, out_width, *layer.kernel, *layer.strides)


def _mean_pool(writer: _Writer, layer: MeanPool) -> tuple[Any, ...]:
    height, width, channels = layer.inputs[0].shape
    points = (layer.inputs[0].zero_point, layer.output.zero_point)
    return (*writer.tensor_offsets(layer), height * width, channels, *points, layer.multiplier)


def _exceptions(writer: _Writer, layer: Add | Multiply) -> tuple[int, int]:
    count = len(layer.exceptions)
    return (writer.constant(np.array(layer.exceptions, np.uint8)) if count else 0), count


def _add(writer: _Writer, layer: Add) -> tuple[Any, ...]:
    return (*layer.factors, layer.offset, *writer.tensor_offsets(layer), layer.output.size, *_exceptions(writer, layer))


def _multiply(writer: _Writer, layer: Multiply) -> tuple[Any, ...]:
    points = (layer.inputs[0].zero_point, layer.inputs[1].zero_point)
    sizes = (layer.output.size, layer.output.shape[-1])
    return (layer.factor, layer.offset, *writer.tensor_offsets(layer), *sizes, *points, *_exceptions(writer, layer))


def _lookup(writer: _Writer, layer: Lookup) -> tuple[Any, ...]:
    return (*writer.tensor_offsets(layer), writer.constant(layer.table), layer.output.size)


_KINDS: dict[str, tuple[int, str, Callable[[_Writer, Any], tuple[Any, ...]]]] = {
    "convolution": (1, "22i", _convolution),
    "logits": (2, "7i", _logits),
    "product": (3, "9if", _product),
    "max_pool": (4, "10i", _max_pool),
    "mean_pool": (5, "6if", _mean_pool),
    "add": (6, "3q6i", _add),
    "multiply": (7, "2q9i", _multiply),
    "lookup": (8, "4i", _lookup),
}
"""Number, layout and fields of each layer's record, as the structs of ``kernels.c``."""
