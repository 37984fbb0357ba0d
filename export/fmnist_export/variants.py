"""Other shapes of a proven model: half the precision, or onnxruntime's own format.

Neither makes an x86-64 processor answer faster. Float16 halves the float file; onnxruntime has no float16 kernels for x86-64
and computes in float32, so it pays for the conversion. The ORT format spares the device the work of optimising the graph
when it loads, and is the only one that builds of onnxruntime without the ONNX parser read.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fmnist_runtime.model_file.integrity import checksum_span, file_checksum

__all__ = ["to_half", "to_ort"]


def to_half(model: ModelProto) -> ModelProto:
    """Return a float16 copy of a float model from ``to_onnx``; the softmax, and what goes in and out, keep their types."""
    half = ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    (last,) = [i for i, node in enumerate(graph.node) if "logits" in node.output]
    behind = {name for node in list(graph.node)[last + 1 :] for name in node.input}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in behind:
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
    """Return a stamped ONNX file in the ORT format, with a checksum of its own and all other metadata as it was.

    It is optimised as far as any processor may be, not for this one. onnxruntime lays the parts out in an order that
    changes: two calls give the same model, not the same bytes.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ort"
        options.optimized_model_filepath = str(path)
        # This transformer's layouts depend on the width of this processor's registers.
        onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"]
        )
        sealed = bytearray(path.read_bytes())
    span = checksum_span(bytes(sealed))
    if span is None:
        raise RuntimeError("onnxruntime wrote an ORT file without our checksum")  # a bug of ours, not of the caller
    sealed[span] = file_checksum(bytes(sealed), span).encode()
    return bytes(sealed)
