"""The index of a graph, its costs, and sessions without a log."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fmnist_export.graph import (
    GraphIndex,
    attributes,
    copy_model,
    count_macs,
    drop_unused,
    layers,
    quiet_session,
    tensor_values,
)


@pytest.fixture
def model() -> ModelProto:
    """Returns image → Cast → Conv (3 channels) → Relu, added to itself; one constant is unused."""
    weight = np.arange(27, dtype=np.float32).reshape(3, 1, 3, 3)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weight"], ["features"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("Add", ["positive", "positive"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3, 14, 14])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(weight, "unused")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_the_index_lists_producers_consumers_and_constants(model: ModelProto) -> None:
    index = GraphIndex(model)
    assert index.producers["features"].op_type == "Conv" and "image" not in index.producers
    assert [node.op_type for node in index.consumers["positive"]] == ["Add", "Add"]
    only = index.only_consumer("features")
    assert only is not None and only.op_type == "Relu"
    assert index.only_consumer("positive") is None and index.only_consumer("logits") is None
    assert index.array("weight").shape == (3, 1, 3, 3) and "pixels" not in index.constants


def test_a_constant_of_the_index_is_that_of_the_model_and_not_of_its_copy(model: ModelProto) -> None:
    copy = copy_model(model)
    GraphIndex(model).constants["weight"].CopyFrom(
        numpy_helper.from_array(np.zeros((3, 1, 3, 3), np.float32), "weight")
    )
    assert not GraphIndex(model).array("weight").any() and GraphIndex(copy).array("weight").any()


def test_layers_and_their_costs(model: ModelProto) -> None:
    (layer,) = layers(model)
    assert (layer.name, layer.operator, layer.weight, layer.output) == ("positive", "Conv", (3, 1, 3, 3), (3, 14, 14))
    assert layer.macs == count_macs(model) == 3 * 14 * 14 * 9
    assert attributes(model.graph.node[1]) == {"strides": [2, 2], "pads": [1, 1, 1, 1]}


def test_inner_values_are_those_of_the_graph_and_unknown_names_are_left_out(model: ModelProto) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    values = tensor_values(model, ["positive", "logits", "absent"], images, batch=2)
    assert list(values) == ["positive", "logits"] and values["logits"].shape == (5, 3, 14, 14)
    assert np.array_equal(values["logits"], 2 * values["positive"])
    assert model.graph.output[0].name == "logits"  # the model itself has not changed


def test_unused_parts_are_dropped(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Neg", ["features"], ["nowhere"]))
    drop_unused(model)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Conv", "Relu", "Add"]
    assert [constant.name for constant in model.graph.initializer] == ["weight"]


def test_a_session_saves_its_graph_and_logs_nothing(
    model: ModelProto, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quiet_session(model.SerializeToString(), threads=1, save_to=tmp_path / "optimized.onnx")
    assert onnx.load(tmp_path / "optimized.onnx").graph.output[0].name == "logits"
    with pytest.raises(Exception, match=r"(?i)protobuf"):
        quiet_session(b"no model")
    assert capfd.readouterr() == ("", "")
