"""The first convolution of an int8 graph, arranged for its kernels, with the very same integers.

A convolution of one channel spends its time on gathering, not on multiplying: nine single bytes for each of 784 places. So
seven places that lie side by side are computed as one, with seven times as many channels: one window of 3×9 pixels that
steps by seven columns, in which each place has its own nine weights, and zeros. That gathers 27 bytes for 112 windows, less
than half, and multiplies larger matrices. In the kernels' layout, channels last, the result lies in memory exactly as
before, so only its shape is changed back. Every sum has the same terms: outputs are equal to the bit.
"""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import drop_unused
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["SIDE_BY_SIDE", "narrow_first_convolution", "widen_first_convolution"]

SIDE_BY_SIDE = 7
"""Places computed as one. With all 28 of a row a call took two hundredths less time on a processor with integer units, for
three times the multiplications of this layer; 4 and 14 were no faster."""
_PLAIN = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
_WIDE = {"kernel_shape": [3, SIDE_BY_SIDE + 2], "strides": [1, SIDE_BY_SIDE], "pads": [1, 1, 1, 1]}


def widen_first_convolution(model: ModelProto) -> None:
    """Rearrange a quantised graph in place, where it starts with a 3×3 convolution of the image that keeps its size.

    Args:
        model: int8, in QDQ form; one that starts otherwise stays as it is.
    """
    found = _rearrange(model, _PLAIN, _WIDE, _side_by_side, lambda values: np.tile(values, SIDE_BY_SIDE))
    if found is not None:
        behind, channels = found
        _restore_shape(model, behind, channels)


def narrow_first_convolution(model: ModelProto) -> None:
    """Undo ``widen_first_convolution``, in place, for a runtime whose kernels are better off without."""
    found = _rearrange(
        model,
        _WIDE,
        _PLAIN,
        lambda weight: weight[: len(weight) // SIDE_BY_SIDE, ..., :3].copy(),
        lambda values: values[: len(values) // SIDE_BY_SIDE].copy(),
    )
    if found is None:
        return
    behind, _ = found
    place = list(model.graph.node).index(behind) + 1
    behind.output[0] = model.graph.node[place + 2].output[0]
    del model.graph.node[place : place + 3]
    drop_unused(model)


def _rearrange(
    model: ModelProto,
    form: dict[str, list[int]],
    wanted: dict[str, list[int]],
    change_weight: Callable[[np.ndarray], np.ndarray],
    change_values: Callable[[np.ndarray], np.ndarray],
) -> tuple[NodeProto, int] | None:
    """Bring the first convolution from one form into another, with its weights and what has a value for each channel.

    Returns:
        The QuantizeLinear behind it, and how many channels it had; None where the graph does not begin in the first form.
    """
    found = _first_convolution(model, form)
    if found is None:
        return None
    convolution, behind = found
    kernel, per_channel = _constants(model, convolution)
    channels = kernel.dims[0]
    _replace(kernel, change_weight(numpy_helper.to_array(kernel)))
    for constant in per_channel:
        _replace(constant, change_values(numpy_helper.to_array(constant)))
    for attribute in convolution.attribute:
        if attribute.name in wanted:
            attribute.CopyFrom(helper.make_attribute(attribute.name, wanted[attribute.name]))
    return behind, channels


def _first_convolution(model: ModelProto, form: dict[str, list[int]]) -> tuple[NodeProto, NodeProto] | None:
    """The convolution of the image and the QuantizeLinear behind it; None where the graph does not begin in this form."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    chain, name = [], "image"
    for wanted in (("DequantizeLinear",), ("Conv",), ("Relu", "QuantizeLinear"), ("QuantizeLinear",)):
        if len(readers.get(name, [])) != 1 or readers[name][0].op_type not in wanted:
            return None
        chain.append(readers[name][0])
        name = chain[-1].output[0]
        if len(chain) > 2 and chain[-1].op_type == "QuantizeLinear":
            break
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in chain[1].attribute}
    return (chain[1], chain[-1]) if all(attributes.get(key) == value for key, value in form.items()) else None


def _constants(model: ModelProto, convolution: NodeProto) -> tuple[TensorProto, list[TensorProto]]:
    """The integer weights, and whatever else has a value for each channel."""
    producers = {output: node for node in model.graph.node for output in node.output}
    constants = {constant.name: constant for constant in model.graph.initializer}
    kernel, *others = (constants[name] for name in producers[convolution.input[1]].input)
    for name in convolution.input[2:]:  # the bias, quantised as the product of both scales
        others += [constants[part] for part in producers[name].input]
    return kernel, [constant for constant in others if constant.dims]


def _side_by_side(weight: np.ndarray) -> np.ndarray:
    """``[C, 1, 3, 3]`` to ``[P·C, 1, 3, P + 2]``: the window at each of P places, the channels innermost."""
    placed = np.zeros((SIDE_BY_SIDE, len(weight), 1, 3, SIDE_BY_SIDE + 2), weight.dtype)
    for place in range(SIDE_BY_SIDE):
        placed[place, ..., place : place + 3] = weight
    return placed.reshape(-1, *placed.shape[2:])


def _restore_shape(model: ModelProto, behind: NodeProto, channels: int) -> None:
    """From ``[N, P·C, 28, 28 / P]`` to ``[N, C, 28, 28]``, on the bytes; onnxruntime sees that nothing has to be moved."""
    graph, wide = model.graph, f"{behind.output[0]}_wide"
    shape = np.array([-1, IMAGE_SIZE, IMAGE_SIZE, channels], np.int64)
    graph.initializer.append(numpy_helper.from_array(shape, f"{wide}_shape"))
    steps = (
        helper.make_node("Transpose", [wide], [f"{wide}_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{wide}_last", f"{wide}_shape"], [f"{wide}_places"]),
        helper.make_node("Transpose", [f"{wide}_places"], [behind.output[0]], perm=[0, 3, 1, 2]),
    )
    behind.output[0] = wide
    place = list(graph.node).index(behind) + 1
    for offset, node in enumerate(steps):
        graph.node.insert(place + offset, node)


def _replace(constant: TensorProto, value: np.ndarray) -> None:
    constant.CopyFrom(numpy_helper.from_array(value, constant.name))
