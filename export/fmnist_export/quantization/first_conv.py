"""Rearrangement of an int8 graph's first convolution for faster kernels, with the same bits of the output.

A convolution of one channel takes most of its time for gathering nine single bytes for each of 784 positions. Here seven
adjacent positions are computed as one, with seven times as many channels. The kernel covers 3×9 pixels and has a stride of
seven columns. For each position it has nine weights, and zeros elsewhere. This gathers 27 bytes for each of 112 windows, less
than half as many, and multiplies larger matrices.

Kernels store channels last, so the result has the same memory layout as before, and only its shape is changed back. Every sum
has the same terms, so the outputs have the same bits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import GraphIndex, attributes, drop_unused
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["POSITIONS", "narrow_first_convolution", "widen_first_convolution"]

POSITIONS = 7
"""Number of adjacent positions that are computed as one. With all 28 of a row, this layer has three times the multiplications
and the network takes 2% less time; 4 and 14 were not faster (measured on a processor with integer units)."""
_NARROW = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
"""Attributes of the original convolution."""
_WIDE = {"kernel_shape": [3, POSITIONS + 2], "strides": [1, POSITIONS], "pads": [1, 1, 1, 1]}
"""Attributes of the rearranged convolution."""
_PATTERN = (("DequantizeLinear",), ("Conv",), ("Relu", "QuantizeLinear"), ("QuantizeLinear",))
"""Operators from the image to the quantized output of the first convolution; the ReLU may be absent."""


def widen_first_convolution(model: ModelProto) -> None:
    """Rearranges the first convolution in place.

    Args:
        model: Int8 model in QDQ form. It stays unchanged if it does not start with a 3×3 convolution that keeps the size
            of the image.
    """
    found = _first_convolution(GraphIndex(model), _NARROW)
    if found is None:
        return
    convolution, quantizer = found
    channels = _change(GraphIndex(model), convolution, _widen_kernel, lambda values: np.tile(values, POSITIONS))
    _set_attributes(convolution, _WIDE)
    _restore_shape(model, quantizer, channels)


def narrow_first_convolution(model: ModelProto) -> None:
    """Undoes ``widen_first_convolution`` in place, for runtimes that are faster without it."""
    found = _first_convolution(GraphIndex(model), _WIDE)
    if found is None:
        return
    convolution, quantizer = found
    _change(
        GraphIndex(model),
        convolution,
        lambda weight: weight[: len(weight) // POSITIONS, ..., :3].copy(),
        lambda values: values[: len(values) // POSITIONS].copy(),
    )
    _set_attributes(convolution, _NARROW)
    position = list(model.graph.node).index(quantizer) + 1
    quantizer.output[0] = model.graph.node[position + 2].output[0]
    del model.graph.node[position : position + 3]
    drop_unused(model)


def _change(
    index: GraphIndex,
    convolution: NodeProto,
    change_weight: Callable[[np.ndarray], np.ndarray],
    change_values: Callable[[np.ndarray], np.ndarray],
) -> int:
    """Changes a convolution's weights and other constants in place; returns the original number of output channels.

    Args:
        index: Index of the graph.
        convolution: Node of the convolution.
        change_weight: Function from the old to the new weights, int8 ``[C, 1, rows, columns]``.
        change_values: The same for constants with one value for each output channel.
    """
    weight, per_channel = _constants(index, convolution)
    channels: int = weight.dims[0]
    _replace(weight, change_weight(numpy_helper.to_array(weight)))
    for constant in per_channel:
        _replace(constant, change_values(numpy_helper.to_array(constant)))
    return channels


def _set_attributes(node: NodeProto, values: dict[str, list[int]]) -> None:
    for attribute in node.attribute:
        if attribute.name in values:
            attribute.CopyFrom(helper.make_attribute(attribute.name, values[attribute.name]))


def _first_convolution(index: GraphIndex, expected: dict[str, Any]) -> tuple[NodeProto, NodeProto] | None:
    """Returns the first convolution and the QuantizeLinear after it; None if the graph starts in another way."""
    chain: list[NodeProto] = []
    name = "image"
    for operators in _PATTERN:
        node = index.only_consumer(name)
        if node is None or node.op_type not in operators:
            return None
        chain.append(node)
        name = node.output[0]
        if len(chain) > 2 and node.op_type == "QuantizeLinear":
            break
    found = attributes(chain[1])
    return (chain[1], chain[-1]) if all(found.get(key) == value for key, value in expected.items()) else None


def _constants(index: GraphIndex, convolution: NodeProto) -> tuple[TensorProto, list[TensorProto]]:
    """Returns the integer weights, and all other constants with a value for each channel."""
    weight, *others = (index.constants[name] for name in index.producers[convolution.input[1]].input)
    for name in convolution.input[2:]:  # the bias
        others += [index.constants[part] for part in index.producers[name].input]
    return weight, [constant for constant in others if constant.dims]


def _widen_kernel(weight: np.ndarray) -> np.ndarray:
    """Returns a kernel ``[C, 1, 3, 3]``, shifted to each of P positions, as ``[P·C, 1, 3, P + 2]`` with channels innermost."""
    placed = np.zeros((POSITIONS, len(weight), 1, 3, POSITIONS + 2), weight.dtype)
    for position in range(POSITIONS):
        placed[position, ..., position : position + 3] = weight
    return placed.reshape(-1, *placed.shape[2:])


def _restore_shape(model: ModelProto, quantizer: NodeProto, channels: int) -> None:
    """Appends nodes from ``[N, P·C, 28, 28 / P]`` back to ``[N, C, 28, 28]``; onnxruntime executes them without a copy."""
    graph, wide = model.graph, f"{quantizer.output[0]}_wide"
    shape = np.array([-1, IMAGE_SIZE, IMAGE_SIZE, channels], np.int64)
    graph.initializer.append(numpy_helper.from_array(shape, f"{wide}_shape"))
    steps = (
        helper.make_node("Transpose", [wide], [f"{wide}_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{wide}_last", f"{wide}_shape"], [f"{wide}_places"]),
        helper.make_node("Transpose", [f"{wide}_places"], [quantizer.output[0]], perm=[0, 3, 1, 2]),
    )
    quantizer.output[0] = wide
    position = list(graph.node).index(quantizer) + 1
    for offset, node in enumerate(steps):
        graph.node.insert(position + offset, node)


def _replace(constant: TensorProto, value: np.ndarray) -> None:
    constant.CopyFrom(numpy_helper.from_array(value, constant.name))
