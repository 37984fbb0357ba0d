"""Equalizes the ranges of channels before quantization, without changing what the network computes.

All channels of an activation have the same scale, so a channel with small values would use few of the 256 steps. ReLU and
pooling commute with positive factors. So a channel can be divided by its range in one layer, and the next layer's weights
multiplied by it, without a change in float (cross-layer equalization, Nagel et al. 2019, arXiv:1906.04721). The ranges are
those of activations, as in Xiao et al. 2023, arXiv:2211.10438.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from fmnist_export.graph import GraphIndex, attributes, copy_model, tensor_values

__all__ = ["equalize"]

_COMMUTING = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten")
"""Operators that commute with a positive factor on a channel."""
_LEAST_FACTOR = 1 / 64
"""Smallest factor of a channel, also of one that is always 0: the next layer's weights lose as many bits as it gains."""


def equalize(model: ModelProto, images: np.ndarray) -> ModelProto:
    """Returns a float model with the same outputs, whose channels have similar ranges between consecutive layers.

    Args:
        model: The float model.
        images: Calibration images, uint8 ``[N, 28, 28]``.
    """
    equalized = copy_model(model)
    index = GraphIndex(equalized)
    pairs = _pairs(equalized, index)
    values = tensor_values(model, [tensor for _, tensor, _ in pairs], images) if pairs else {}
    for first, tensor, second in pairs:
        value = np.moveaxis(values[tensor], 1, 0).reshape(values[tensor].shape[1], -1)
        largest = np.abs(value).max(axis=1)
        if not largest.max() > 0:
            continue
        factor = np.clip(largest / largest.max(), _LEAST_FACTOR, 1)
        for name in first.input[1:3]:
            _multiply(index.constants[name], 1 / factor, axis=0)
        _multiply(index.constants[second.input[1]], factor, axis=1)
    return equalized


def _pairs(model: ModelProto, index: GraphIndex) -> list[tuple[NodeProto, str, NodeProto]]:
    """Returns pairs of consecutive layers with only commuting operators between, and the activation between them."""
    outputs = {output.name for output in model.graph.output}
    found = []
    for first in model.graph.node:
        if not _is_dense(first, index):
            continue
        tensor = name = first.output[0]
        while name not in outputs and (node := index.only_consumer(name)) is not None:
            if _is_dense(node, index) and node.input[0] == name:
                found.append((first, tensor, node))
                break
            if node.op_type not in _COMMUTING:
                break
            name = node.output[0]
            tensor = name if node.op_type == "Relu" else tensor
    return found


def _is_dense(node: NodeProto, index: GraphIndex) -> bool:
    """Returns whether the weights of a node are constants of the form ``[outputs, inputs, ...]``, without groups."""
    found = attributes(node)
    dense = node.op_type == "Conv" and found.get("group", 1) == 1
    dense |= node.op_type == "Gemm" and found.get("transB", 0) == 1 and not found.get("transA", 0)
    return dense and all(name in index.constants for name in node.input[1:])


def _multiply(tensor: TensorProto, factor: np.ndarray, axis: int) -> None:
    """Multiplies a constant along an axis in place; factors are repeated on an axis flattened from channels and positions."""
    value = numpy_helper.to_array(tensor)
    repeated = np.repeat(factor, value.shape[axis] // len(factor))
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    tensor.CopyFrom(numpy_helper.from_array((value * repeated.reshape(shape)).astype(value.dtype), tensor.name))
