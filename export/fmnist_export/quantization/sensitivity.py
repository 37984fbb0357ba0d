"""Quantization noise of layers: in the complete network, and of each single layer with float inputs."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from fmnist_export.graph import (
    GraphIndex,
    copy_model,
    drop_unused,
    inner_values,
    quiet_session,
    tensor_values,
    weighted_nodes,
)
from fmnist_export.quantization.first_conv import narrow_first_convolution

__all__ = ["largest_drops", "layer_noise", "signal_to_noise", "worst_layer"]

_ROUNDING_ONLY = 60.0
"""Signal-to-noise ratio in decibels above which a layer's noise is only the rounding of float sums."""
_DEQUANTIZED = "_DequantizeLinear_Output"
"""Suffix of onnxruntime's quantizer for the name of a dequantized tensor."""


def signal_to_noise(reference: ModelProto, quantized: ModelProto, images: np.ndarray) -> dict[str, float]:
    """Computes the signal-to-quantization-noise ratio of each layer's output in decibels, the worst layer first.

    A factor on a whole channel does not count as noise, because it is the effect of equalization.

    Args:
        reference: The float model.
        quantized: Its int8 counterpart; tensors have the same names in both.
        images: uint8 ``[N, 28, 28]``.
    """
    names = [name for _, name in weighted_nodes(reference)]
    # The quantizer merges a ReLU into the clipping of what follows, so its result is the output of DequantizeLinear.
    present = GraphIndex(quantized).producers
    tensors = {name: name + _DEQUANTIZED if name + _DEQUANTIZED in present else name for name in names}
    expected = tensor_values(reference, names, images)
    found = tensor_values(quantized, list(tensors.values()), images)
    ratios = {}
    for name in names:
        target, value = _by_channel(expected[name]), _by_channel(found[tensors[name]])
        square = (value**2).sum(axis=1)
        factor = (target * value).sum(axis=1) / np.where(square, square, 1)
        signal, noise = (target**2).sum(), ((target - factor[:, None] * value) ** 2).sum()
        ratios[name] = 10 * float(np.log10(signal / noise)) if signal and noise else float("inf")
    return dict(sorted(ratios.items(), key=lambda item: item[1]))


def largest_drops(reference: ModelProto, ratios: Mapping[str, float], count: int) -> list[tuple[str, float, float]]:
    """Returns the layers at which the signal-to-noise ratio drops most: noise stays in all later layers, so those are noisy too.

    Args:
        reference: The float model, whose nodes are in the order of execution.
        ratios: Result of ``signal_to_noise``.
        count: Largest number of layers.

    Returns:
        Name, ratio of the layer before and ratio of the layer, in decibels; the largest drop first.
    """
    names = [name for _, name in weighted_nodes(reference)]
    before = [_ROUNDING_ONLY, *(ratios[name] for name in names)]
    drops = [(name, min(start, _ROUNDING_ONLY), ratios[name]) for name, start in zip(names, before, strict=False)]
    return sorted(drops, key=lambda drop: drop[2] - drop[1])[:count]


def _by_channel(value: np.ndarray) -> np.ndarray:
    return np.moveaxis(value.astype(np.float64), 1, 0).reshape(value.shape[1], -1)


def layer_noise(reference: ModelProto, quantized: ModelProto, images: np.ndarray) -> dict[str, float]:
    """Computes each layer's signal-to-quantization-noise ratio in decibels with float activations as its input.

    The noise is that of its weights and of the quantization of its input.

    Args:
        reference: The float model that was quantized (the equalized one where channels were equalized).
        quantized: Its int8 counterpart.
        images: uint8 ``[N, 28, 28]``.

    Returns:
        Ratios by layer, the worst layer first.
    """
    plain = copy_model(quantized)
    narrow_first_convolution(plain)  # as in the reference
    targets = {name: node for node, name in weighted_nodes(reference)}
    ratios = {}
    for node, name in weighted_nodes(plain):
        isolated, source = _isolate(plain, node)
        target = targets[name].output[0]
        values = inner_values(reference, [target, *([source] if source != "image" else [])])(images)
        signal = values[target].astype(np.float64)
        noise = _run(isolated, source, values.get(source, images[:, None])) - signal
        power = float((noise**2).sum())
        ratios[name] = 10 * float(np.log10((signal**2).sum() / power)) if power else float("inf")
    return dict(sorted(ratios.items(), key=lambda item: item[1]))


def worst_layer(
    reference: ModelProto, quantized: ModelProto, images: np.ndarray, in_float: Sequence[str]
) -> str | None:
    """Returns the next layer to keep in float, by ``layer_noise``; None if no layer is noisy.

    A noisy layer that is in float already has a noisy input. Then the layer before it is the next one, because its result is
    quantized unless both layers are in float.

    Args:
        reference: As for ``layer_noise``.
        quantized: As for ``layer_noise``.
        images: As for ``layer_noise``.
        in_float: Layers that are in float already.
    """
    before = _layers_before(reference)
    for name, ratio in layer_noise(reference, quantized, images).items():
        for layer in (name, before.get(name)):
            if ratio < _ROUNDING_ONLY and layer is not None and layer not in in_float:
                return layer
    return None


def _isolate(quantized: ModelProto, node: NodeProto) -> tuple[ModelProto, str]:
    """Returns a model of one layer and the quantization of its input; and the name of the model's input."""
    producers = GraphIndex(quantized).producers
    source = node.input[0]
    if producers[source].op_type == "Max":  # the guard of a float layer
        source = producers[source].input[0]
    if producers[source].op_type == "DequantizeLinear":
        while source != "image" and producers[source].op_type != "QuantizeLinear":
            source = producers[source].input[0]
        source = source if source == "image" else producers[source].input[0]
    model = copy_model(quantized)
    if source != "image":
        model.graph.node.remove(producers[source])
        del model.graph.input[:]
        model.graph.input.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, None))
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    drop_unused(model)
    return model, source


def _run(model: ModelProto, name: str, value: np.ndarray) -> np.ndarray:
    session = quiet_session(model.SerializeToString(), optimize=False)
    output: np.ndarray = session.run(None, {name: value})[0]
    return output


def _layers_before(model: ModelProto) -> dict[str, str]:
    """Returns the nearest layer before each layer, along first inputs."""
    producers = GraphIndex(model).producers
    names = {node.output[0]: name for node, name in weighted_nodes(model)}
    before = {}
    for node, name in weighted_nodes(model):
        source = node.input[0]
        while source in producers and source not in names:
            source = producers[source].input[0]
        if source in names:
            before[name] = names[source]
    return before
