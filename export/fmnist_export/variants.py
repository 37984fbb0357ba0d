"""Variants of one network before they are written: float32, float16, int8, and onnxruntime's own format.

Neither float16 nor the ORT format reduces latency on x86-64 processors. Float16 halves the size of the float file, but
onnxruntime has no float16 kernels for x86-64: it converts and computes in float32. A file in the ORT format is optimized
already, so it loads faster. Builds of onnxruntime without the ONNX parser read only this format.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import copy_model, optimized
from fmnist_runtime.model_file.integrity import checksum_span, file_checksum

__all__ = ["FILES", "Variant", "to_half", "to_ort"]

FILES = {"float32": "model.onnx", "float16": "model.fp16.onnx", "int8": "model.int8.onnx"}
"""File names by precision."""


@dataclass(frozen=True, eq=False)
class Variant:
    """One model of an export, before its metadata are written."""

    model: ModelProto
    """Graph without metadata."""
    calibration: dict[str, Any] | None = None
    """Metadata field ``calibration`` of a quantized model; None for float."""
    float_model: ModelProto | None = None
    """Float model that was quantized, with the same tensor names; None for float."""


def to_half(model: ModelProto) -> ModelProto:
    """Returns a float16 copy of a float model; softmax, input and outputs keep their types.

    Args:
        model: A model that ``to_onnx`` returned.
    """
    half = copy_model(model)
    graph = half.graph
    (last,) = [i for i, node in enumerate(graph.node) if "logits" in node.output]
    after_logits = {name for node in list(graph.node)[last + 1 :] for name in node.input}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in after_logits:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    graph.node[last].output[0] = "logits_half"
    graph.node.insert(
        last + 1, helper.make_node("Cast", ["logits_half"], ["logits"], "Cast_logits", to=TensorProto.FLOAT)
    )
    onnx.checker.check_model(half, full_check=True)
    return half


def to_ort(data: bytes) -> bytes:
    """Returns an exported ONNX file in the ORT format, with all metadata and a checksum of its own.

    The graph is optimized only in ways that are valid on every processor. onnxruntime writes the parts of the file in an order
    that changes from call to call, so two calls give the same model but not the same bytes.
    """
    # This transformer's layouts depend on the width of this processor's registers.
    entries, disabled = {"session.save_model_format": "ORT"}, ["NchwcTransformer"]
    ort = bytearray(optimized(data, entries=entries, disabled_optimizers=disabled)[1])
    span = checksum_span(bytes(ort))
    if span is None:
        raise RuntimeError("onnxruntime wrote an ORT file without the checksum")  # a defect, not an error of the caller
    ort[span] = file_checksum(bytes(ort), span).encode()
    return bytes(ort)
