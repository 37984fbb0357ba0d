"""Graphs of other programs, which onnxruntime runs: they are described, or refused in one line that names the file."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from fmnist_export.graph import layers
from fmnist_export.inspection import inspect_model
from fmnist_export.metadata import stamp
from fmnist_runtime import Classifier
from fmnist_runtime.errors import ModelError

FIELDS = {"labels": ["a", "b"], "precision": "float32", "temperature": 1.0, "reject": None}
CONSTANTS = {
    "weight": np.ones((784, 2), np.float32),
    "square": np.eye(784, dtype=np.float32),
    "vector": np.ones(784, np.float32),
    "nothing": np.ones((784, 0), np.float32),
    "axis": np.array([1]),
}


def write(path: Path, nodes: list[NodeProto], value_info: list[ValueInfoProto] | None = None) -> Path:
    """Write a model of some nodes from ``flat`` to ``features``, a dense layer and its softmax."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            *nodes,
            helper.make_node("MatMul", ["features", "weight"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(values, name) for name, values in CONSTANTS.items()],
        value_info=value_info or [],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(stamp(helper.make_model(graph, opset_imports=opsets, ir_version=8), FIELDS))
    Classifier.load(path)  # onnxruntime takes it
    return path


@pytest.mark.parametrize(
    ("nodes", "macs"),
    [
        (
            [
                helper.make_node("MatMul", ["flat", "nothing"], ["empty"]),
                helper.make_node("ReduceSum", ["empty", "axis"], ["zero"]),
                helper.make_node("Add", ["flat", "zero"], ["features"]),
            ],
            2 * 784,
        ),
        (
            [
                helper.make_node("MatMul", ["flat", "vector"], ["one"]),
                helper.make_node("Unsqueeze", ["one", "axis"], ["column"]),
                helper.make_node("Add", ["flat", "column"], ["features"]),
            ],
            3 * 784,
        ),
        ([helper.make_node("Gemm", ["flat", "square"], ["features"], transB=1)], (784 + 2) * 784),
        (
            [
                helper.make_node("RandomUniform", [], ["noise"], shape=[1, 784], dtype=TensorProto.FLOAT),
                helper.make_node("Add", ["flat", "noise"], ["features"]),
            ],
            2 * 784,
        ),
    ],
    ids=["no values", "a vector", "transposed", "a node without inputs"],
)
def test_odd_layers_are_described(nodes: list[NodeProto], macs: int, tmp_path: Path) -> None:
    found = inspect_model(write(tmp_path / "model.onnx", nodes))
    assert found["macs"] == macs and found["executed"]


@pytest.mark.parametrize(
    ("nodes", "value_info", "message"),
    [
        (
            [
                helper.make_node("BiasGelu", ["flat", "vector"], ["gelu"], domain="com.microsoft"),
                helper.make_node("MatMul", ["gelu", "square"], ["features"]),
            ],
            [],
            "the shape of 'features' is unknown",
        ),
        (
            [helper.make_node("Identity", ["flat"], ["features"])],
            [helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 783])],
            "783",
        ),
    ],
    ids=["an operator of onnxruntime", "a false shape"],
)
def test_shapes_that_no_one_knows_are_one_line(
    nodes: list[NodeProto], value_info: list[ValueInfoProto], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "model.onnx", nodes, value_info)
    with pytest.raises(ModelError, match=rf"^{path}: the layers of the graph cannot be listed \(.*{message}") as error:
        inspect_model(path)
    assert str(error.value).isprintable()


def test_a_damaged_graph_has_no_layers() -> None:
    """``fmnist-export verify`` counts the layers, too."""
    graph = helper.make_graph([helper.make_node("MatMul", ["a"], ["b"])], "damaged", [], [])
    with pytest.raises(ModelError, match="cannot be listed"):
        layers(helper.make_model(graph))
