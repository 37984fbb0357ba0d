"""Reading a graph: its layers and what they cost, what onnxruntime makes of it, and where quantisation noise enters."""

import math
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper

from fmnist_runtime.errors import FmnistError

__all__ = [
    "Executed",
    "Layer",
    "count_macs",
    "drop_unused",
    "executed_nodes",
    "executed_operators",
    "inner_values",
    "layers",
    "signal_to_noise",
    "tensor_values",
    "weighted_nodes",
]

_LAYERS = ("Conv", "Gemm", "MatMul")
_BEHIND = "_DequantizeLinear_Output"
"""What onnxruntime's quantiser adds to a tensor's name for its value after quantisation."""
_INTEGER_PREFIXES = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger")


@dataclass(frozen=True)
class Layer:
    """One node that multiplies with weights."""

    name: str
    """Name of its output tensor, after the ReLU that follows where there is one."""
    operator: str
    weight: tuple[int, ...]
    output: tuple[int, ...]
    """Shape without the batch."""
    macs: int
    """Multiply-accumulates for one image."""


@dataclass(frozen=True)
class Executed:
    """One node as onnxruntime executes it on this processor, after its own fusions."""

    operator: str
    weight: tuple[int, ...]
    """Shape of its largest constant with at least two axes; empty without one."""
    integer: bool
    """Whether it computes on integers."""


def layers(model: ModelProto) -> list[Layer]:
    """The layers of a float or QDQ graph, in order."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    } | {i.name: tuple(i.dims) for i in inferred.initializer}
    found = []
    for node, name in weighted_nodes(model):
        weight, output = shapes[node.input[1]], shapes[node.output[0]][1:]
        per_value = math.prod(weight[1:]) if node.op_type == "Conv" else math.prod(weight) // output[-1]
        found.append(Layer(name, node.op_type, weight, output, math.prod(output) * per_value))
    return found


def count_macs(model: ModelProto) -> int:
    """Multiply-accumulates of all layers for one image."""
    return sum(layer.macs for layer in layers(model))


def executed_nodes(data: bytes) -> list[Executed]:
    """What onnxruntime really executes for a model on this processor.

    Raises:
        FmnistError: it cannot optimise the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            graph = onnx.load(path).graph
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise FmnistError(f"onnxruntime cannot optimise the model: {str(error).splitlines()[0]}") from error
    constants = {i.name: tuple(i.dims) for i in graph.initializer}
    integers = {"image"}  # tensors that are known to hold integers
    nodes = []
    for node in graph.node:
        weight = max(
            (constants.get(name, ()) for name in node.input), key=lambda dims: (len(dims) > 1, math.prod(dims))
        )
        integer = node.op_type.startswith(_INTEGER_PREFIXES) or (
            node.op_type not in ("Cast", "DequantizeLinear") and node.input[0] in integers
        )
        if integer and not (node.op_type == "QGemm" and len(node.input) < 8):  # without a scale its output is float
            integers.update(node.output)
        nodes.append(Executed(node.op_type, weight if len(weight) > 1 else (), integer))
    return nodes


def executed_operators(data: bytes) -> Counter[str]:
    """How often onnxruntime executes each operator for a model on this processor."""
    return Counter(node.operator for node in executed_nodes(data))


def signal_to_noise(reference: ModelProto, quantised: ModelProto, images: np.ndarray) -> dict[str, float]:
    """Signal-to-quantisation-noise ratio of each layer's output in decibels, the worst layer first.

    A factor on a whole channel is no noise: equalisation puts it there on purpose.

    Args:
        reference: the float model.
        quantised: its int8 twin; tensors have the same names in both.
        images: uint8 ``[N, 28, 28]``.
    """
    names = [name for _, name in weighted_nodes(reference)]
    # The quantiser merges a ReLU into the clipping of what follows, so its result stands behind the DequantizeLinear.
    outputs = {output for node in quantised.graph.node for output in node.output}
    behind = {name: name + _BEHIND if name + _BEHIND in outputs else name for name in names}
    expected = tensor_values(reference, names, images)
    found = tensor_values(quantised, list(behind.values()), images)
    ratios = {}
    for name in names:
        aim, value = _by_channel(expected[name]), _by_channel(found[behind[name]])
        square = (value**2).sum(axis=1)
        factor = (aim * value).sum(axis=1) / np.where(square, square, 1)
        signal, noise = (aim**2).sum(), ((aim - factor[:, None] * value) ** 2).sum()
        ratios[name] = 10 * float(np.log10(signal / noise)) if signal and noise else float("inf")
    return dict(sorted(ratios.items(), key=lambda item: item[1]))


def _by_channel(value: np.ndarray) -> np.ndarray:
    return np.moveaxis(value.astype(np.float64), 1, 0).reshape(value.shape[1], -1)


def tensor_values(model: ModelProto, names: list[str], images: np.ndarray, batch: int = 256) -> dict[str, np.ndarray]:
    """The values of a graph's inner tensors, computed as the graph is written, by name; unknown names are left out.

    Args:
        model: float or QDQ.
        names: of tensors.
        images: uint8 ``[N, 28, 28]``.
        batch: images at a time.
    """
    run = inner_values(model, names)
    parts = [run(images[i : i + batch]) for i in range(0, len(images), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def inner_values(model: ModelProto, names: list[str]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """As ``tensor_values``, as a function of the images."""
    copy = ModelProto()
    copy.CopyFrom(model)
    present = {output for node in copy.graph.node for output in node.output}
    wanted = [name for name in dict.fromkeys(names) if name in present]
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    drop_unused(copy)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: dict(zip(wanted, session.run(wanted, {"image": images[:, None]}), strict=True))


def weighted_nodes(model: ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """The nodes with weights, each with the name of its output after the ReLU where one follows."""
    after = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    constants = {i.name for i in model.graph.initializer}
    constants |= {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants}
    nodes = [n for n in model.graph.node if n.op_type in _LAYERS and n.input[1] in constants]
    return [(node, after.get(node.output[0], node.output[0])) for node in nodes]


def drop_unused(model: ModelProto) -> None:
    """Remove nodes and initialisers that no output depends on."""
    needed = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    initialisers = [i for i in model.graph.initializer if i.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(initialisers)
