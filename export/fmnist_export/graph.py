"""Graphs of ONNX models: an index of their tensors, their layers, and the values of inner tensors."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from fmnist_runtime.errors import MALFORMED, ModelError, reason_of
from fmnist_train.files import temporary_folder

__all__ = [
    "GraphIndex",
    "Layer",
    "attributes",
    "copy_model",
    "count_macs",
    "drop_unused",
    "inner_values",
    "layers",
    "optimized",
    "quiet_session",
    "tensor_values",
    "weighted_nodes",
]

_LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators that multiply with weights."""


class GraphIndex:
    """Producers, consumers and constants of a graph, by tensor name.

    The index is not updated: create a new one after nodes are added, removed or renamed.

    Attributes:
        producers: Node that writes each tensor.
        consumers: Nodes that read each tensor, in the order of the graph; a node that reads it twice is listed twice.
        constants: Initializers of the model itself, not copies.
    """

    def __init__(self, model: ModelProto) -> None:
        self.producers: dict[str, NodeProto] = {}
        self.consumers: dict[str, list[NodeProto]] = {}
        self.constants: dict[str, TensorProto] = {i.name: i for i in model.graph.initializer}
        for node in model.graph.node:
            self.producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def only_consumer(self, name: str) -> NodeProto | None:
        """Returns the only node that reads a tensor; None if there is none or several."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 else None

    def array(self, name: str) -> np.ndarray:
        """Returns the values of a constant."""
        return numpy_helper.to_array(self.constants[name])


@dataclass(frozen=True)
class Layer:
    """One node that multiplies with weights."""

    name: str
    """Name of its output tensor; if a ReLU follows, of the ReLU's output."""
    operator: str
    """Operator type, as in ONNX."""
    weight: tuple[int, ...]
    """Shape of the weights."""
    output: tuple[int, ...]
    """Shape of the output without the batch axis."""
    macs: int
    """Multiply-accumulates for one image."""


def attributes(node: NodeProto) -> dict[str, Any]:
    """Returns a node's attributes as Python values, by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def copy_model(model: ModelProto) -> ModelProto:
    """Returns an independent copy of a model."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def layers(model: ModelProto) -> list[Layer]:
    """Returns the layers of a float or QDQ graph, in order.

    Raises:
        ModelError: The shape of a tensor is unknown, or contradicts another: the graph is not of this project's export.
    """
    try:
        return _layers(model)
    except (*MALFORMED, InferenceError) as error:
        raise ModelError(f"the layers of the graph cannot be listed ({reason_of(error)}); export it again") from error


def _layers(model: ModelProto) -> list[Layer]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    } | {i.name: tuple(i.dims) for i in inferred.initializer}
    found = []
    for node, name in weighted_nodes(model):
        if unknown := [tensor for tensor in (node.input[1], node.output[0]) if tensor not in shapes]:
            raise ValueError(f"the shape of '{unknown[0]}' is unknown")
        weight, output = shapes[node.input[1]], shapes[node.output[0]][1:]
        found.append(Layer(name, node.op_type, weight, output, macs=math.prod(output) * _macs_per_value(node, weight)))
    return found


def _macs_per_value(node: NodeProto, weight: tuple[int, ...]) -> int:
    """Returns the multiply-accumulates for one value of the output of a node with weights."""
    if node.op_type == "Conv":
        return math.prod(weight[1:])
    transposed = node.op_type == "Gemm" and attributes(node).get("transB", 0)
    return weight[-1] if transposed or len(weight) == 1 else weight[-2]


def count_macs(model: ModelProto) -> int:
    """Returns the multiply-accumulates of all layers for one image."""
    return sum(layer.macs for layer in layers(model))


def weighted_nodes(model: ModelProto) -> list[tuple[NodeProto, str]]:
    """Returns the nodes with weights, each with the name of its output; if a ReLU follows, of the ReLU's output."""
    after = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    constants = {i.name for i in model.graph.initializer}
    constants |= {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants}
    nodes = [n for n in model.graph.node if n.op_type in _LAYERS and n.input[1] in constants]
    return [(node, after.get(node.output[0], node.output[0])) for node in nodes]


def drop_unused(model: ModelProto) -> None:
    """Removes nodes and initializers that no output depends on."""
    needed = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    initializers = [i for i in model.graph.initializer if i.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)


def quiet_session(
    data: bytes,
    *,
    threads: int = 0,
    optimize: bool = True,
    save_to: Path | None = None,
    entries: Mapping[str, str] | None = None,
    disabled_optimizers: Sequence[str] = (),
) -> onnxruntime.InferenceSession:
    """Loads a model into onnxruntime on the CPU, without a log: errors arrive as exceptions.

    Args:
        data: Contents of a model file.
        threads: Threads of one call; 0 leaves the number to ``OMP_NUM_THREADS``, as for PyTorch, or else to onnxruntime.
        optimize: Whether onnxruntime may change the graph.
        save_to: File for the optimized graph.
        entries: Further entries of onnxruntime's session configuration.
        disabled_optimizers: Names of onnxruntime's optimizers to leave out.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    common = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = threads or (int(common) if common.isdecimal() else 0)
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled_optimizers)
    )


def optimized(data: bytes, **options: Any) -> tuple[onnxruntime.InferenceSession, bytes]:
    """Loads a model like ``quiet_session``, and returns the session and the graph that onnxruntime has optimized, as a file.

    Args:
        data: Contents of a model file.
        options: Further arguments of ``quiet_session``.

    Raises:
        OSError: There is no space for the file, which onnxruntime can only write into a folder.
    """
    with temporary_folder() as folder:
        path = folder / "optimized"
        session = quiet_session(data, save_to=path, **options)
        return session, path.read_bytes()


def tensor_values(
    model: ModelProto, names: Sequence[str], images: np.ndarray, batch: int = 256
) -> dict[str, np.ndarray]:
    """Computes inner tensors of a graph without onnxruntime's optimizations.

    Args:
        model: A float or QDQ model.
        names: Names of tensors; unknown ones are left out.
        images: uint8 ``[N, 28, 28]``.
        batch: Images in one call.

    Returns:
        Values by tensor name, images on the first axis.
    """
    compute = inner_values(model, names)
    parts = [compute(images[i : i + batch]) for i in range(0, len(images), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def inner_values(model: ModelProto, names: Sequence[str]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function from images, uint8 ``[N, 28, 28]``, to the values of inner tensors by name; see ``tensor_values``."""
    copy = copy_model(model)
    present = {output for node in copy.graph.node for output in node.output}
    wanted = [name for name in dict.fromkeys(names) if name in present]
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    drop_unused(copy)
    session = quiet_session(copy.SerializeToString(), optimize=False)
    return lambda images: dict(zip(wanted, session.run(wanted, {"image": images[:, None]}), strict=True))
