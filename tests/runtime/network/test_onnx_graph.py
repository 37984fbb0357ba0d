"""The reader of ONNX files agrees with the onnx package, and the writer's models load."""

import numpy as np
import pytest

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.onnx_graph import one_node_model, read_graph
from fmnist_runtime.network.reader import read_network

onnx = pytest.importorskip("onnx", reason="the reader is compared with the onnx package")
from onnx import helper, numpy_helper  # noqa: E402


@pytest.mark.parametrize("name", embedded_models())
def test_reads_what_the_onnx_package_reads(name: str) -> None:
    data = embedded_models()[name].read_bytes()
    found, model = read_graph(data), onnx.load_model_from_string(data)
    assert dict(found.metadata_props) == {p.key: p.value for p in model.metadata_props}
    assert found.initializers.keys() == {i.name for i in model.graph.initializer}
    for constant in model.graph.initializer:
        expected = numpy_helper.to_array(constant)
        assert found.initializers[constant.name].dtype == expected.dtype
        np.testing.assert_array_equal(found.initializers[constant.name], expected)
    for node, expected_node in zip(found.nodes, model.graph.node, strict=True):
        assert (node.op_type, node.name) == (expected_node.op_type, expected_node.name)
        assert (node.inputs, node.outputs) == (tuple(expected_node.input), tuple(expected_node.output))
        for attribute in expected_node.attribute:
            value = helper.get_attribute_value(attribute)
            assert node.attributes[attribute.name] == (tuple(value) if isinstance(value, list) else value)


def test_reads_typed_data_and_negative_numbers() -> None:
    tensors = [
        helper.make_tensor("floats", onnx.TensorProto.FLOAT, [2], [0.5, -1.5]),
        helper.make_tensor("bytes", onnx.TensorProto.INT8, [2, 1], [-3, 7]),
        helper.make_tensor("longs", onnx.TensorProto.INT64, [2], [-1, 1 << 40]),
    ]
    nodes = [helper.make_node("Op", ["a"], ["b"], axis=-1, shares=[0.25, 0.5], text="word", sizes=[1, -2])]
    graph = read_graph(helper.make_model(helper.make_graph(nodes, "g", [], [], tensors)).SerializeToString())
    assert graph.initializers["floats"].tolist() == [0.5, -1.5]
    assert graph.initializers["bytes"].tolist() == [[-3], [7]]
    assert graph.initializers["longs"].tolist() == [-1, 1 << 40]
    assert graph.nodes[0].attributes == {"axis": -1, "shares": (0.25, 0.5), "text": b"word", "sizes": (1, -2)}


@pytest.mark.parametrize(("kind", "value"), [("STRING", b"word"), ("BOOL", True)])
def test_constants_of_other_types_are_no_damage(kind: str, value: object) -> None:
    tensor = helper.make_tensor("constant", getattr(onnx.TensorProto, kind), [1], [value])
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(ModelError, match="a constant of another type than numbers"):
        read_graph(model.SerializeToString())


def test_a_damaged_file_is_one_clear_line() -> None:
    data = bytearray(embedded_models()["nano"].read_bytes())
    for seed in range(60):
        damaged = data.copy()
        for position in np.random.default_rng(seed).integers(0, len(data), 40):
            damaged[position] ^= 1 << seed % 8
        try:
            read_network(bytes(damaged))
        except ModelError as error:
            assert "\n" not in str(error)


def test_a_written_model_is_valid() -> None:
    constants = {"scale": np.array(0.5, np.float32), "zero": np.array(3, np.uint8)}
    data = one_node_model("DequantizeLinear", "", inputs=["x", "scale", "zero"], output="y", constants=constants)
    graph = onnx.load_model_from_string(data).graph
    assert [i.name for i in graph.input] == ["x"] and [o.name for o in graph.output] == ["y"]
    assert {i.name: numpy_helper.to_array(i).item() for i in graph.initializer} == {"scale": 0.5, "zero": 3}
