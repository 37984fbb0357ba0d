"""Which layer suffers most from being quantised: each one alone, so that it does not answer for the noise before it."""

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper

from fmnist_export.graph import drop_unused, inner_values, weighted_nodes
from fmnist_export.quantization.first_conv import narrow_first_convolution

__all__ = ["layer_noise", "worst_layer"]

_INAUDIBLE = 60.0
"""Decibels over which a layer's noise is no more than rounding of float sums."""


def layer_noise(reference: ModelProto, quantised: ModelProto, images: np.ndarray) -> dict[str, float]:
    """Signal-to-quantisation-noise ratio in decibels of each layer that is given the float activations, worst first.

    The noise is that of its weights and of what quantises its input.

    Args:
        reference: the float model that was quantised (the equalised one where channels were equalised).
        quantised: its QDQ twin.
        images: uint8 ``[N, 28, 28]``.
    """
    plain = ModelProto()
    plain.CopyFrom(quantised)
    narrow_first_convolution(plain)  # as the reference has it
    aims = {name: node for node, name in weighted_nodes(reference)}
    ratios = {}
    for node, name in weighted_nodes(plain):
        alone, given = _alone(plain, node)
        wanted = aims[name].output[0]
        values = inner_values(reference, [wanted, *([given] if given != "image" else [])])(images)
        signal = values[wanted].astype(np.float64)
        noise = _run(alone, given, values.get(given, images[:, None])) - signal
        power = float((noise**2).sum())
        ratios[name] = 10 * float(np.log10((signal**2).sum() / power)) if power else float("inf")
    return dict(sorted(ratios.items(), key=lambda item: item[1]))


def worst_layer(
    reference: ModelProto, quantised: ModelProto, images: np.ndarray, spared: tuple[str, ...]
) -> str | None:
    """The layer to leave in float next, by ``layer_noise``; None where no layer suffers.

    A layer that suffers though it is in ``spared`` already does so by its input: then it is the layer in front, whose
    result is quantised for as long as one of the two computes with integers.
    """
    front = _layers_in_front(reference)
    for name, ratio in layer_noise(reference, quantised, images).items():
        for layer in (name, front.get(name)):
            if ratio < _INAUDIBLE and layer is not None and layer not in spared:
                return layer
    return None


def _alone(quantised: ModelProto, node: NodeProto) -> tuple[ModelProto, str]:
    """A layer and what quantises its input as a model of their own, and the name of the tensor that this takes."""
    makers = {output: n for n in quantised.graph.node for output in n.output}
    given = node.input[0]
    if makers[given].op_type == "Max":  # the guard of a layer in float
        given = makers[given].input[0]
    if makers[given].op_type == "DequantizeLinear":
        while given != "image" and makers[given].op_type != "QuantizeLinear":
            given = makers[given].input[0]
        given = given if given == "image" else makers[given].input[0]
    model = ModelProto()
    model.CopyFrom(quantised)
    if given != "image":
        model.graph.node.remove(makers[given])
        del model.graph.input[:]
        model.graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, None))
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    drop_unused(model)
    return model, given


def _run(model: ModelProto, given: str, value: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {given: value})[0]


def _layers_in_front(model: ModelProto) -> dict[str, str]:
    """The nearest layer before each layer, along first inputs."""
    makers = {output: n for n in model.graph.node for output in n.output}
    names = {node.output[0]: name for node, name in weighted_nodes(model)}
    front = {}
    for node, name in weighted_nodes(model):
        given = node.input[0]
        while given in makers and given not in names:
            given = makers[given].input[0]
        if given in names:
            front[name] = names[given]
    return front
