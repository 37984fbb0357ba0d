"""What is in a model file: its metadata and its graph."""

from pathlib import Path
from typing import Any

import onnx

from fmnist_export.graph import executed_nodes, layers
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.model_file.integrity import is_ort
from fmnist_runtime.model_file.store import find_model, read_model

__all__ = ["inspect_model"]


def inspect_model(model: str | Path) -> dict[str, Any]:
    """Read a model file, and let onnxruntime optimise its graph for this processor.

    Returns:
        ``file``, ``bytes``, ``metadata`` (all of it), ``opset``, ``macs``, ``layers`` (as ``graph.Layer``),
        ``executed`` (as ``graph.Executed``). A file in the ORT format is optimised already: it has no ``opset`` and no
        ``layers``, and states its ``macs``.

    Raises:
        ModelError: damaged, not ours, newer than this runtime.
    """
    classifier, path = Classifier.load(model), find_model(model)
    data = read_model(path)
    ort = is_ort(data)
    proto = onnx.ModelProto() if ort else onnx.load_model_from_string(data)
    found = [] if ort else layers(proto)
    return {
        "file": str(path),
        "bytes": len(data),
        "metadata": dict(classifier.metadata.document),
        "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        "macs": classifier.metadata.document["model"]["macs"] if ort else sum(layer.macs for layer in found),
        "layers": [vars(layer) for layer in found],
        "executed": [vars(node) for node in executed_nodes(data)],
    }
