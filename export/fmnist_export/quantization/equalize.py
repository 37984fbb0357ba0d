"""Give every channel of an activation the same range before it is quantised, without changing what the network computes.

An activation has one scale for all channels, so a channel with small values would get few of its 256 steps. A ReLU or
pooling commutes with positive factors: dividing a channel by its range in one layer and multiplying the next layer's
weights alike changes nothing in float (cross-layer equalisation, Nagel et al. 2019, arXiv:1906.04721; by the ranges of
activations as in Xiao et al. 2023, arXiv:2211.10438).
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import tensor_values

__all__ = ["equalise"]

_COMMUTE = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten")
_FLOOR = 1 / 64
"""A channel is never enlarged more than this, dead ones included: the next layer's weights lose what it gains."""


def equalise(model: ModelProto, images: np.ndarray) -> ModelProto:
    """Return a float model with the same answers whose channels have like ranges wherever two layers follow each other.

    Args:
        model: the float model.
        images: uint8 ``[N, 28, 28]`` whose activations show the ranges.
    """
    equal = ModelProto()
    equal.CopyFrom(model)
    weights = {i.name: i for i in equal.graph.initializer}
    pairs = _pairs(equal, weights)
    seen = tensor_values(model, [tensor for _, tensor, _ in pairs], images) if pairs else {}
    for first, tensor, second in pairs:
        value = np.moveaxis(seen[tensor], 1, 0).reshape(seen[tensor].shape[1], -1)
        largest = np.abs(value).max(axis=1)
        if not largest.max() > 0:
            continue
        factor = np.clip(largest / largest.max(), _FLOOR, 1)
        for name in first.input[1:3]:
            _multiply(weights[name], 1 / factor, axis=0)
        _multiply(weights[second.input[1]], factor, axis=1)
    return equal


def _pairs(model: ModelProto, weights: dict[str, TensorProto]) -> list[tuple[NodeProto, str, NodeProto]]:
    """Layers that follow each other with nothing between that a factor would change, and the activation between them."""
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    found = []
    for first in model.graph.node:
        if not _plain(first, weights):
            continue
        tensor = name = first.output[0]
        while name not in outputs and len(users.get(name, [])) == 1:
            (node,) = users[name]
            if _plain(node, weights) and node.input[0] == name:
                found.append((first, tensor, node))
                break
            if node.op_type not in _COMMUTE:
                break
            name = node.output[0]
            tensor = name if node.op_type == "Relu" else tensor
    return found


def _plain(node: NodeProto, weights: dict[str, TensorProto]) -> bool:
    """Whether a node is a layer with its outputs on the first axis of its weights, and all inputs on the second."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = node.op_type == "Conv" and attributes.get("group", 1) == 1
    kind |= node.op_type == "Gemm" and attributes.get("transB", 0) == 1 and not attributes.get("transA", 0)
    return kind and all(name in weights for name in node.input[1:])


def _multiply(tensor: TensorProto, factor: np.ndarray, axis: int) -> None:
    """Multiply along an axis; an axis that was flattened from channels and places takes each factor for its places."""
    value = numpy_helper.to_array(tensor)
    spread = np.repeat(factor, value.shape[axis] // len(factor))
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    tensor.CopyFrom(numpy_helper.from_array((value * spread.reshape(shape)).astype(value.dtype), tensor.name))
