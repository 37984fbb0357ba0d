"""Choose the integers of quantised weights so that each layer gives what the float layer gave, errors before it included.

Rounding every weight to the nearest step ignores that errors of weights can cancel. Here each layer is fitted in closed
form, first to last: the weights move to the least-squares solution on the activations that the layers before it *really*
give out, quantised as they are; then they are rounded one input at a time, and what each rounding leaves is made up for by
the inputs not rounded yet (GPTQ, Frantar et al. 2022, arXiv:2210.17323, after Hassibi and Stork 1993). The bias, 32 bits
wide, takes up the rest.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import inner_values, weighted_nodes

__all__ = ["fit_rounding", "round_in_turn"]

_ROWS = 32768
"""Places of a convolution's output that are looked at, over all images."""
_CONVOLUTION_IMAGES = 512
_RIDGE = 0.1
"""Pull towards the float weights, as a share of the inputs' mean square."""
_BATCH = 256


@dataclass(frozen=True)
class _Quantised:
    """The tensors of one quantised layer; writing to them changes the model."""

    weight: TensorProto
    scale: np.ndarray
    bias: TensorProto
    bias_scale: np.ndarray


def fit_rounding(reference: ModelProto, quantised: ModelProto, images: np.ndarray) -> None:
    """Replace the integer weights and biases of ``quantised`` by fitted ones.

    Args:
        reference: the float model that was quantised; its weights are the aim.
        quantised: its QDQ twin, changed in place. Grouped convolutions and layers in float are left as they are.
        images: uint8 ``[N, 28, 28]``.
    """
    aims = {name: node for node, name in weighted_nodes(reference)}
    floats = {i.name: numpy_helper.to_array(i) for i in reference.graph.initializer}
    for node, name in weighted_nodes(quantised):
        layer, aim = _tensors(quantised, node), aims.get(name)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if layer is None or aim is None or attributes.get("group", 1) != 1 or node.op_type == "MatMul":
            continue
        gram, product = _statistics(reference, quantised, aim, node, attributes, images)
        weight = floats[aim.input[1]]
        start = np.concatenate([weight.reshape(len(weight), -1), floats[aim.input[2]][:, None]], 1).astype(np.float64)
        _write(layer, *_fit(gram, product, start, layer))


def _fit(gram: np.ndarray, product: np.ndarray, start: np.ndarray, layer: _Quantised) -> tuple[np.ndarray, np.ndarray]:
    ridge = np.full(len(gram), _RIDGE * gram.diagonal()[:-1].mean())
    ridge[-1] = 1e-9 * gram[-1, -1]
    damped = gram + np.diag(np.maximum(ridge, 1e-12))
    moved = start + np.linalg.solve(damped, (product.T - start @ gram).T).T
    limit = int(np.abs(numpy_helper.to_array(layer.weight).astype(int)).max())
    return round_in_turn(moved, damped, layer.scale, limit)


def round_in_turn(
    weights: np.ndarray, gram: np.ndarray, scale: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Round all columns but the last, each one's error made up for by those after it.

    Args:
        weights: float64 ``[outputs, inputs + 1]``, the bias last.
        gram: float64 ``[inputs + 1, inputs + 1]``: the inputs' second moments, a constant 1 last; positive definite.
        scale: ``[outputs]``, the step of each output's weights.
        limit: largest magnitude of an integer.

    Returns:
        Integers ``[outputs, inputs]``, and the biases that go with them.
    """
    inputs = len(gram) - 1
    order = np.append(np.argsort(-gram.diagonal()[:-1], kind="stable"), inputs)  # the strongest inputs first
    upper = np.linalg.cholesky(np.linalg.inv(gram[np.ix_(order, order)])).T
    rest, integers = weights[:, order].copy(), np.zeros((len(weights), inputs))
    for column in range(inputs):
        whole = np.clip(np.round(rest[:, column] / scale), -limit, limit)
        error = (rest[:, column] - whole * scale) / upper[column, column]
        rest[:, column:] -= error[:, None] * upper[column, column:]
        integers[:, order[column]] = whole
    return integers, rest[:, -1]


def _statistics(
    reference: ModelProto,
    quantised: ModelProto,
    aim: NodeProto,
    node: NodeProto,
    attributes: dict[str, object],
    images: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of a layer's quantised inputs (a constant 1 last), and their products with the float outputs."""
    given = inner_values(quantised, [node.input[0]])
    wanted = inner_values(reference, [aim.output[0]])
    if node.op_type == "Conv":  # it sees much in each image
        images = images[:_CONVOLUTION_IMAGES]
    random, places = np.random.default_rng(0), -(-_ROWS // len(images))
    gram: np.ndarray | float = 0.0
    product: np.ndarray | float = 0.0
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        inputs, outputs = given(batch)[node.input[0]], wanted(batch)[aim.output[0]]
        if node.op_type == "Conv":
            inputs, outputs = _patches(inputs, outputs, attributes, places, random)
        rows = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float64)
        gram, product = gram + rows.T @ rows, product + rows.T @ outputs.astype(np.float64)
    return gram, product


def _patches(
    inputs: np.ndarray, outputs: np.ndarray, attributes: dict[str, object], places: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random places of a convolution: what it sees there, ``[rows, channels × kernel]``, and what it should give."""
    count, _, height, width = outputs.shape
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    stride, kernel = attributes.get("strides", [1, 1]), attributes["kernel_shape"]
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    image = np.repeat(np.arange(count), places)
    y, x = random.integers(0, height, len(image)), random.integers(0, width, len(image))
    seen = windows[image, :, y * stride[0], x * stride[1]]
    return seen.reshape(len(image), -1), outputs[image, :, y, x]


def _tensors(model: ModelProto, node: NodeProto) -> _Quantised | None:
    """The quantised tensors behind a layer's DequantizeLinear nodes; None where it has none."""
    tensors = {i.name: i for i in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    if len(node.input) < 3 or any(name not in makers for name in node.input[:3]):
        return None
    weight, bias = (makers[name] for name in node.input[1:3])
    scales = [
        np.atleast_1d(numpy_helper.to_array(tensors[maker.input[1]])).astype(np.float64) for maker in (weight, bias)
    ]
    return _Quantised(tensors[weight.input[0]], scales[0], tensors[bias.input[0]], scales[1])


def _write(layer: _Quantised, integers: np.ndarray, bias: np.ndarray) -> None:
    for tensor, value in ((layer.weight, integers), (layer.bias, np.round(bias / layer.bias_scale))):
        old = numpy_helper.to_array(tensor)
        value = np.clip(value, np.iinfo(old.dtype).min, np.iinfo(old.dtype).max)
        tensor.CopyFrom(numpy_helper.from_array(value.astype(old.dtype).reshape(old.shape), tensor.name))
