"""Choice of the integer weights of each layer, so that its output is close to that of the float layer.

If every weight is rounded to the nearest step, errors of weights do not cancel each other. Here each layer is fitted in closed
form, from the first to the last. The weights are set to the least-squares solution for the quantized activations of the
previous layers. Then the inputs are rounded one after the other, and those not rounded yet compensate the error (GPTQ, Frantar
et al. 2022, arXiv:2210.17323, after Hassibi and Stork 1993). The bias has 32 bits and compensates the remaining error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from fmnist_export.graph import GraphIndex, attributes, inner_values, weighted_nodes

__all__ = ["fit_rounding", "round_in_turn"]

_ROWS = 32768
"""Number of output positions of a convolution that are used for its fit, over all images."""
_CONVOLUTION_IMAGES = 512
"""Largest number of images for the fit of a convolution: each has many positions."""
_RIDGE = 0.1
"""Penalty on the distance to the float weights, as a share of the inputs' mean square."""
_BIAS_RIDGE = 1e-9
"""Penalty for the bias: so small that the bias is hardly restricted."""
_BATCH = 256
"""Images in one call."""


@dataclass(frozen=True)
class _Quantized:
    """Tensors of one quantized layer, as parts of the model."""

    weight: TensorProto
    """int8 ``[outputs, ...]``."""
    scale: np.ndarray
    """Steps of the weights, float64 ``[outputs]`` or ``[1]``."""
    bias: TensorProto
    """int32 ``[outputs]``."""
    bias_scale: np.ndarray
    """Steps of the bias, float64 ``[outputs]`` or ``[1]``."""


def fit_rounding(reference: ModelProto, quantized: ModelProto, images: np.ndarray) -> None:
    """Replaces the integer weights and biases of a quantized model by fitted ones.

    Args:
        reference: The float model that was quantized.
        quantized: Its QDQ counterpart, changed in place. Grouped convolutions and float layers stay as they are.
        images: Calibration images, uint8 ``[N, 28, 28]``.
    """
    targets = {name: node for node, name in weighted_nodes(reference)}
    floats, integers = GraphIndex(reference), GraphIndex(quantized)
    for node, name in weighted_nodes(quantized):
        layer, target = _tensors(integers, node), targets.get(name)
        if layer is None or target is None or attributes(node).get("group", 1) != 1 or node.op_type == "MatMul":
            continue
        gram, product = _statistics((reference, target), (quantized, node), images)
        weight, bias = floats.array(target.input[1]), floats.array(target.input[2])
        start = np.concatenate([weight.reshape(len(weight), -1), bias[:, None]], 1).astype(np.float64)
        _write(layer, *_fit(gram, product, start, layer))


def _fit(gram: np.ndarray, product: np.ndarray, start: np.ndarray, layer: _Quantized) -> tuple[np.ndarray, np.ndarray]:
    """Returns the integer weights and the biases of one layer; arguments as for ``round_in_turn``."""
    ridge = np.full(len(gram), _RIDGE * gram.diagonal()[:-1].mean())
    ridge[-1] = _BIAS_RIDGE * gram[-1, -1]
    damped = gram + np.diag(np.maximum(ridge, 1e-12))
    moved = start + np.linalg.solve(damped, (product.T - start @ gram).T).T
    limit = int(np.abs(numpy_helper.to_array(layer.weight).astype(int)).max())
    return round_in_turn(moved, damped, layer.scale, limit)


def round_in_turn(
    weights: np.ndarray, gram: np.ndarray, scale: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rounds all columns but the last; later columns compensate the error of each.

    Args:
        weights: float64 ``[outputs, inputs + 1]``, the bias last.
        gram: float64 ``[inputs + 1, inputs + 1]``: the inputs' second moments, a constant 1 last; positive definite.
        scale: Step of each output's weights, ``[outputs]``.
        limit: Largest magnitude of an integer.

    Returns:
        Integer weights, float64 ``[outputs, inputs]``, and the biases for them, float64 ``[outputs]``.
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
    reference: tuple[ModelProto, NodeProto], quantized: tuple[ModelProto, NodeProto], images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the second moments of a layer's quantized inputs, and their products with the float outputs.

    Args:
        reference: The float model and its layer.
        quantized: The quantized model and the same layer.
        images: Calibration images.

    Returns:
        float64 ``[inputs + 1, inputs + 1]``, a constant 1 last, and ``[inputs + 1, outputs]``.
    """
    node, target = quantized[1], reference[1].output[0]
    source = node.input[0]
    compute_inputs, compute_outputs = inner_values(quantized[0], [source]), inner_values(reference[0], [target])
    if node.op_type == "Conv":
        images = images[:_CONVOLUTION_IMAGES]
    random, positions = np.random.default_rng(0), -(-_ROWS // len(images))
    gram, product = np.zeros(()), np.zeros(())
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        inputs, outputs = compute_inputs(batch)[source], compute_outputs(batch)[target]
        if node.op_type == "Conv":
            inputs, outputs = _patches((inputs, outputs), attributes(node), positions, random)
        rows = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float64)
        gram, product = gram + rows.T @ rows, product + rows.T @ outputs.astype(np.float64)
    return gram, product


def _patches(
    values: tuple[np.ndarray, np.ndarray], settings: Mapping[str, Any], positions: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws positions of a convolution: its inputs there, ``[rows, channels × kernel]``, and outputs, ``[rows, outputs]``."""
    inputs, outputs = values
    count, _, height, width = outputs.shape
    top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
    stride, kernel = settings.get("strides", [1, 1]), settings["kernel_shape"]
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    image = np.repeat(np.arange(count), positions)
    y, x = random.integers(0, height, len(image)), random.integers(0, width, len(image))
    patches = windows[image, :, y * stride[0], x * stride[1]]
    return patches.reshape(len(image), -1), outputs[image, :, y, x]


def _tensors(index: GraphIndex, node: NodeProto) -> _Quantized | None:
    """Returns the quantized tensors of a layer; None if it has no bias, or an input without DequantizeLinear."""
    dequantizers = [index.producers.get(name) for name in node.input[:3]]
    if len(dequantizers) < 3 or any(each is None or each.op_type != "DequantizeLinear" for each in dequantizers):
        return None
    weight, bias = (each for each in dequantizers[1:] if each is not None)
    scales = [np.atleast_1d(index.array(each.input[1])).astype(np.float64) for each in (weight, bias)]
    return _Quantized(index.constants[weight.input[0]], scales[0], index.constants[bias.input[0]], scales[1])


def _write(layer: _Quantized, integers: np.ndarray, bias: np.ndarray) -> None:
    for tensor, value in ((layer.weight, integers), (layer.bias, np.round(bias / layer.bias_scale))):
        old = numpy_helper.to_array(tensor)
        value = np.clip(value, np.iinfo(old.dtype).min, np.iinfo(old.dtype).max)
        tensor.CopyFrom(numpy_helper.from_array(value.astype(old.dtype).reshape(old.shape), tensor.name))
