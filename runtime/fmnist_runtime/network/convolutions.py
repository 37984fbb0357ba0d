"""Convolutions and dense layers of an int8 graph."""

import dataclasses
from typing import NamedTuple

import numpy as np

from fmnist_runtime.network.layers import Convolution, Layer, Logits, Quantization, Tensor
from fmnist_runtime.network.onnx_graph import Node
from fmnist_runtime.network.values import (
    Activations,
    Constant,
    channels_last_index,
    count_windows,
    require_finite,
    unsupported,
)

__all__ = ["read_convolution", "read_dense", "read_logits"]


def read_convolution(reader: Activations, node: Node, y: Quantization, name: str) -> tuple[Layer, np.ndarray]:
    """Reads a Conv; returns its layer, and the index of the layer's output."""
    source = reader.channels_last(node)
    height, width, channels = source.shape
    attributes = node.attributes
    kernel = reader.constant(node, 1, np.int8)
    groups, strides = attributes.get("group", 1), tuple(attributes.get("strides", (1, 1)))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or set(attributes.get("dilations", (1,))) != {1}:
        raise unsupported(node, "automatic padding and dilations are not supported")
    outputs, inputs, *window = kernel.values.shape
    if inputs * groups != channels or outputs % groups:
        raise unsupported(node, f"its weights take {inputs} channels in {groups} groups, its input has {channels}")
    rows, columns = count_windows(node, (height, width), window, strides, pads)
    reader.reserve(node, (height + pads[0] + pads[2], width + pads[1] + pads[3], channels))
    reader.reserve(node, (outputs, channels, *window))
    weight = _ungroup_weights(kernel.values, groups).transpose(0, 2, 3, 1)
    output = reader.tensor(node, name, (rows, columns, outputs), y)
    bias, multiplier = _fold_zero_point(reader, node, _WeightedSum(source, weight, kernel), y.scale)
    layer = Convolution(
        name, (source,), output, weight=weight, bias=bias, multiplier=multiplier, strides=strides, pads=pads
    )
    return _narrow_first_convolution(layer), channels_last_index(*output.shape)


def read_dense(reader: Activations, node: Node, y: Quantization, name: str) -> tuple[Layer, np.ndarray]:
    """Reads a Gemm; returns its layer, and the index of the layer's output."""
    sums = _dense_sum(reader, node)
    bias, multiplier = _fold_zero_point(reader, node, sums, y.scale)
    output = reader.tensor(node, name, (len(sums.weight),), y)
    layer = Convolution(name, (sums.source,), output, weight=sums.weight, bias=bias, multiplier=multiplier)
    return layer, np.arange(output.size)


def read_logits(reader: Activations, node: Node) -> Layer:
    """Reads the last dense layer, whose float32 output is not quantized."""
    sums = _dense_sum(reader, node)
    bias, multiplier = _fold_zero_point(reader, node, sums, None)
    output = reader.tensor(node, "logits", (len(sums.weight),), Quantization(np.float32(1), 0))
    return Logits(node.outputs[0], (sums.source,), output, weight=sums.weight, bias=bias, multiplier=multiplier)


class _WeightedSum(NamedTuple):
    """Operands of a layer's weighted sums."""

    source: Tensor
    """Activation that is multiplied."""
    weight: np.ndarray
    """int8 ``[outputs, kernel height, kernel width, inputs]``."""
    kernel: Constant
    """The weights as stored, with their scales."""


def _dense_sum(reader: Activations, node: Node) -> _WeightedSum:
    value, kernel, attributes = reader.value(node, 0), reader.constant(node, 1, np.int8), node.attributes
    if (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) != (1.0, 1.0, 0):
        raise unsupported(node, "alpha, beta and transA are not supported")
    weight = kernel.values if attributes.get("transB", 0) else kernel.values.T
    if value.index.ndim != 1 or weight.shape[1] != value.index.size or value.index.size != value.tensor.size:
        raise unsupported(node, "its input must be a flat activation")
    reader.reserve(node, weight.shape)
    ordered = np.empty_like(weight)
    ordered[:, value.index] = weight
    return _WeightedSum(
        dataclasses.replace(value.tensor, shape=(value.tensor.size,)), ordered[:, None, None, :], kernel
    )


def _fold_zero_point(
    reader: Activations, node: Node, operands: _WeightedSum, y_scale: np.float32 | None
) -> tuple[np.ndarray, np.ndarray]:
    """Folds the input's zero point into the bias.

    Args:
        reader: Constants of the graph.
        node: Node of the layer.
        operands: Operands of its sums.
        y_scale: Scale of the output; None: the output is not quantized.

    Returns:
        ``bias``, int32 ``[outputs]``, and ``multiplier``, float32 ``[outputs]``, of ``Convolution``.
    """
    source, weight, kernel = operands
    if kernel.zero_point.any():
        raise unsupported(node, "weights must be symmetric")
    sums = weight.sum(axis=(1, 2, 3), dtype=np.int64)
    bias = reader.constant(node, 2, np.int32).values.astype(np.int64) if len(node.inputs) > 2 else 0
    folded = bias - source.zero_point * sums
    magnitudes = np.abs(weight, dtype=np.int16).sum(axis=(1, 2, 3), dtype=np.int64)
    if (np.abs(folded) + 255 * magnitudes).max() >= 2**31:
        raise unsupported(node, "its sums may exceed 32 bits")
    scale = np.broadcast_to(np.float32(source.scale) * kernel.scale.astype(np.float32), len(weight))
    multiplier = scale if y_scale is None else scale / np.float32(y_scale)
    require_finite(node, multiplier)
    return folded.astype(np.int32), multiplier.astype(np.float32)


def _narrow_first_convolution(layer: Convolution) -> Convolution:
    """Undoes the export's ``widen_first_convolution``, which computes adjacent positions as channels of one position.

    Other layers are returned unchanged. The bytes of the output stay the same, with fewer weights and multiplications.
    """
    outputs, rows, columns, channels = layer.weight.shape
    positions = layer.strides[1]
    kernel = columns - positions + 1
    if channels != 1 or positions == 1 or outputs % positions or layer.pads != (1, 1, 1, 1) or kernel != rows:
        return layer
    count = outputs // positions
    weight = layer.weight[:count, :, :kernel]
    wide = np.zeros_like(layer.weight)
    for position in range(positions):
        wide[position * count : (position + 1) * count, :, position : position + kernel] = weight
    tiled = all(np.array_equal(a, np.tile(a[:count], positions)) for a in (layer.bias, layer.multiplier))
    if not tiled or not np.array_equal(wide, layer.weight):
        return layer
    height, width, _ = layer.output.shape
    output = dataclasses.replace(layer.output, shape=(height, width * positions, count))
    return dataclasses.replace(
        layer,
        name=layer.name.removesuffix("_wide"),
        output=output,
        weight=weight,
        bias=layer.bias[:count],
        multiplier=layer.multiplier[:count],
        strides=(layer.strides[0], 1),
    )


def _ungroup_weights(weight: np.ndarray, groups: int) -> np.ndarray:
    """Returns the weights ``[O, I / groups, h, w]`` of a grouped convolution as ``[O, I, h, w]``, with zeros between groups."""
    outputs, inputs = weight.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense
