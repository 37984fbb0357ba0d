"""What the runtime's tests share: a small model of our kind, and ways to damage one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime.model_file.integrity import checksum_span, file_checksum

onnx = pytest.importorskip("onnx", reason="the tests build their models with onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def seal(model: "onnx.ModelProto", **changes: object) -> bytes:
    """Serialize with metadata and a right checksum; a change to None leaves that field out."""
    fields = {"schema": 1, "labels": ["a", "b", "c"], "precision": "float32", "temperature": 1.0, "reject": None}
    del model.metadata_props[:]
    for key, value in {**fields, **changes}.items():
        if value is not None or key == "reject":
            model.metadata_props.add(key=f"fmnist.{key}", value=json.dumps(value))
    model.metadata_props.add(key="fmnist.sha256", value="0" * 64)
    data = bytearray(model.SerializeToString())
    span = checksum_span(bytes(data))
    data[span] = file_checksum(bytes(data), span).encode()
    return bytes(data)


def linear_model(name: str = "image", classes: int = 3) -> "onnx.ModelProto":
    """Logits that are a fixed linear function of the pixels."""
    weight = (np.random.default_rng(0).normal(size=(784, classes)) / 5000).astype(np.float32)
    nodes = [
        helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", classes]) for n in ("logits", "probabilities")],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file with changed metadata."""

    def make(model: "onnx.ModelProto | None" = None, *, classes: int = 3, **changes: object) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(seal(model or linear_model(classes=classes), **changes))
        return path

    return make


@pytest.fixture
def tiny_model(make_model: Callable[..., Path]) -> Path:
    """A valid model file."""
    return make_model()
