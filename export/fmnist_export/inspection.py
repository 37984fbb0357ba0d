"""Description of a model file: metadata, layers, and the nodes that onnxruntime executes on this processor."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from fmnist_export.graph import layers, optimized
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import MALFORMED, ModelError, reason_of
from fmnist_runtime.model_file.integrity import is_ort
from fmnist_runtime.model_file.session import first_line
from fmnist_runtime.model_file.store import find_model, prefix_model_errors, read_model

__all__ = ["Executed", "executed_nodes", "executed_operators", "inspect_model", "read_executed"]

_INTEGER_PREFIXES = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger")
"""Beginnings of the names of onnxruntime's operators that compute on integers."""
_FLOAT_QGEMM_INPUTS = 8
"""A QGemm with fewer inputs has no output scale, and returns floats."""


@dataclass(frozen=True)
class Executed:
    """One node that onnxruntime executes on this processor, after its optimizations."""

    operator: str
    """Operator type, as onnxruntime names it."""
    weight: tuple[int, ...]
    """Shape of the largest constant input with at least two axes; empty without one."""
    integer: bool
    """Whether it computes on integers."""


def inspect_model(model: str | Path) -> dict[str, Any]:
    """Describes a model file, and its graph after onnxruntime's optimization for this processor.

    Args:
        model: File, folder or embedded name, as ``Classifier.load`` takes it.

    Returns:
        ``file``, ``bytes``, ``metadata`` (all fields), ``opset``, ``macs``, ``layers`` (fields of ``graph.Layer``) and
        ``executed`` (fields of ``Executed``). A file in the ORT format is already optimized: it has no ``opset`` and no
        ``layers``, and ``macs`` comes from its metadata.

    Raises:
        ModelError: The file is damaged, was not written by this project, or is newer than this runtime; or its layers cannot
            be listed.
    """
    classifier, path = Classifier.load(model), find_model(model)
    data = read_model(path)
    ort = is_ort(data)
    proto = ModelProto() if ort else onnx.load_model_from_string(data)
    with prefix_model_errors(path):
        found = [] if ort else layers(proto)
        return {
            "file": str(path),
            "bytes": len(data),
            "metadata": dict(classifier.metadata.document),
            "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
            "macs": _stated_macs(classifier.metadata.document) if ort else sum(layer.macs for layer in found),
            "layers": [vars(layer) for layer in found],
            "executed": [vars(node) for node in executed_nodes(data)],
        }


def _stated_macs(document: Mapping[str, Any]) -> int:
    try:
        return int(document["model"]["macs"])
    except MALFORMED as error:
        raise ModelError(f"the model's metadata are malformed ({reason_of(error)}); export it again") from error


def executed_nodes(data: bytes) -> list[Executed]:
    """Returns the nodes that onnxruntime executes for a model on this processor, in order.

    Args:
        data: Contents of a model file.

    Raises:
        ModelError: onnxruntime cannot optimize the model.
        OSError: There is no space for temporary files.
    """
    try:
        graph = optimized(data)[1]
    except OSError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(f"onnxruntime cannot optimize the model: {first_line(error)}") from error
    return read_executed(graph)


def executed_operators(data: bytes) -> Counter[str]:
    """Returns the number of nodes of each operator that onnxruntime executes for a model on this processor."""
    return Counter(node.operator for node in executed_nodes(data))


def read_executed(data: bytes) -> list[Executed]:
    """Returns the nodes of a graph that onnxruntime optimized (see ``optimized``), in order."""
    graph = onnx.load_model_from_string(data).graph
    constants = {i.name: tuple(i.dims) for i in graph.initializer}
    integers = {"image"}  # tensors that are known to hold integers
    nodes = []
    for node in graph.node:
        weight = max(
            (constants.get(name, ()) for name in node.input),
            key=lambda dims: (len(dims) > 1, math.prod(dims)),
            default=(),
        )
        integer = node.op_type.startswith(_INTEGER_PREFIXES) or (
            node.op_type not in ("Cast", "DequantizeLinear") and not integers.isdisjoint(node.input[:1])
        )
        if integer and not (node.op_type == "QGemm" and len(node.input) < _FLOAT_QGEMM_INPUTS):
            integers.update(node.output)
        nodes.append(Executed(node.op_type, weight if len(weight) > 1 else (), integer))
    return nodes
