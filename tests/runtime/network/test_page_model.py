"""The page's model file: its format, and models that are refused."""

import hashlib
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.onnx_graph import MAX_BYTES, read_graph
from fmnist_runtime.network.operators import OPERATORS
from fmnist_runtime.network.page_model import MAGIC, page_model
from fmnist_runtime.network.program import write_program
from fmnist_runtime.network.reader import read_network

onnx = pytest.importorskip("onnx", reason="the tests change models with onnx")

NANO = embedded_models()["nano"].read_bytes()
LABELS = list("0123456789")
TEMPERATURE = json.loads(read_graph(NANO).metadata_props["fmnist.temperature"])


def test_the_format_is_the_documented_one() -> None:
    data = page_model(NANO)
    assert data == page_model(NANO)
    assert data.startswith(MAGIC) and data[8:40] == hashlib.sha256(data[40:]).digest()
    (length,) = struct.unpack("<I", data[40:44])
    document, content = json.loads(data[44 : 44 + length]), data[44 + length :]
    properties = {p.key: p.value for p in onnx.load_model_from_string(NANO).metadata_props}
    for key in ("labels", "temperature", "reject", "selftest"):
        assert document[key] == json.loads(properties[f"fmnist.{key}"])
    assert document["sha256"] == properties["fmnist.sha256"]
    memory = document["memory"]
    assert memory["image"] < memory["activations"] <= memory["layers"] < memory["activations"] + len(content)
    records = content[memory["layers"] - memory["activations"] :]
    kinds = []
    while records:
        kind, size = struct.unpack("<ii", records[:8])
        kinds.append(kind)
        if not kind:
            break
        records = records[size:]
    assert kinds[-2:] == [2, 0] and len(kinds) > 5  # the last layer gives the logits


def change(edit: Callable[["onnx.ModelProto"], None]) -> "onnx.ModelProto":
    model = onnx.load_model_from_string(NANO)
    edit(model)
    return model


def replace_pool(model: "onnx.ModelProto") -> None:
    next(n for n in model.graph.node if n.op_type == "AveragePool").op_type = "LpPool"


def dilate(model: "onnx.ModelProto") -> None:
    convolution = [n for n in model.graph.node if n.op_type == "Conv"][2]
    del convolution.attribute[:]
    convolution.attribute.append(onnx.helper.make_attribute("dilations", [2, 2]))


def drop_weights(model: "onnx.ModelProto") -> None:
    for constant in model.graph.initializer:
        constant.ClearField("raw_data")


def set_attribute(model: "onnx.ModelProto", operator: str, name: str, value: Any) -> None:
    """Change an attribute of the first node of an operator."""
    node = next(n for n in model.graph.node if n.op_type == operator)
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def set_constant(model: "onnx.ModelProto", operator: str, value: float, *, position: int = 1, first: int = 0) -> None:
    """Fill a constant input of the nodes of an operator, from one of them on."""
    nodes = [n for n in model.graph.node if n.op_type == operator][first:]
    names = {n.input[position] for n in nodes}
    for constant in model.graph.initializer:
        if constant.name in names:
            filled = np.full_like(onnx.numpy_helper.to_array(constant), value)
            constant.CopyFrom(onnx.numpy_helper.from_array(filled, constant.name))


def name_twice(model: "onnx.ModelProto") -> None:
    """Give two results of convolutions one name."""
    first, second = [n.output[0] for n in model.graph.node if n.op_type == "Conv"][:2]
    rename(model, {second: first})


def rename(model: "onnx.ModelProto", new: dict[str, str]) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]


def double_softmax(model: "onnx.ModelProto") -> None:
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["once"], ["probabilities"]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (partial(set_attribute, operator="Conv", name="pads", value=[2000] * 4), "more than 8,388,608 activations"),
        (partial(set_attribute, operator="Conv", name="pads", value=[-1] * 4), "pads are out of range"),
        (partial(set_attribute, operator="Conv", name="pads", value=[1]), "pads are out of range"),
        (partial(set_attribute, operator="Conv", name="strides", value=[0, 0]), "strides or pads are out of range"),
        (partial(set_attribute, operator="Conv", name="strides", value=[1 << 40] * 2), "strides or pads are out of"),
        (partial(set_attribute, operator="Conv", name="group", value=10**9), "in 1000000000 groups"),
        (partial(set_attribute, operator="Softmax", name="axis", value=0), "it is not over the classes"),
        (double_softmax, "it does not read the logits"),
        (partial(set_constant, operator="Div", value=7), "the graph divides its logits by 7, its metadata by 1"),
        *(
            (partial(set_constant, operator="DequantizeLinear", value=scale, first=2), "scale must be positive and")
            for scale in (0, -1, np.nan, np.inf)
        ),
        (partial(set_constant, operator="QuantizeLinear", value=1e-45), "its scales are out of range"),
        (name_twice, "another result has its name"),
        (replace_pool, "cannot run LpPool '.+' in integers: there is no integer form"),
        (dilate, "cannot run Conv '.+' in integers: .*dilations"),
        (drop_weights, "not an ONNX model"),
    ],
)
def test_what_the_kernels_cannot_run_is_named(
    make_model: Callable[..., Path], edit: Callable[["onnx.ModelProto"], None], message: str
) -> None:
    path = make_model(change(edit), precision="int8", labels=LABELS, temperature=TEMPERATURE)
    with pytest.raises(ModelError, match=message) as error:
        page_model(path.read_bytes())
    assert "\n" not in str(error.value)


def test_a_file_larger_than_any_network_is_refused() -> None:
    with pytest.raises(ModelError, match="larger than 16 MiB"):
        read_graph(bytes(MAX_BYTES + 1))


def test_names_of_results_do_not_change_their_memory() -> None:
    """Buffers of the page and of the C were once found by names that a result may have, too."""
    model = onnx.load_model_from_string(NANO)
    results = [n.output[0] for n in model.graph.node if n.op_type in OPERATORS]
    rename(model, dict(zip(results, ["a_wide", "a", "/padded", "a/strip", "/strip", "a/rows"], strict=False)))
    first, second = read_network(NANO), read_network(model.SerializeToString())
    assert "/padded" in {layer.output.name for layer in second.layers}
    assert write_program(second) == write_program(first)


def test_a_float_or_damaged_model_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="float32: export it with --quantize"):
        page_model(tiny_model.read_bytes())
    damaged = bytearray(NANO)
    damaged[len(NANO) // 2] ^= 1
    with pytest.raises(ModelError, match="damaged"):
        page_model(bytes(damaged))


def test_metadata_without_a_reject_rule_and_own_labels_are_kept(make_model: Callable[..., Path]) -> None:
    labels = [f"Tür {i}" for i in range(9)] + ["\ud800"]  # no text, but JSON
    path = make_model(change(lambda model: None), precision="int8", labels=labels, temperature=TEMPERATURE)
    data = page_model(path.read_bytes())
    (length,) = struct.unpack("<I", data[40:44])
    document = json.loads(data[44 : 44 + length])
    assert (document["labels"], document["temperature"], document["reject"]) == (labels, TEMPERATURE, None)
