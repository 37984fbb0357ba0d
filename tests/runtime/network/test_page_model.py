"""The page's model file: its format, and models that are refused."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.page_model import MAGIC, page_model

onnx = pytest.importorskip("onnx", reason="the tests change models with onnx")

NANO = embedded_models()["nano"].read_bytes()
LABELS = list("0123456789")


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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replace_pool, "cannot run LpPool '.+' in integers: there is no integer form"),
        (dilate, "cannot run Conv '.+' in integers: .*dilations"),
        (drop_weights, "not an ONNX model"),
    ],
)
def test_what_the_kernels_cannot_run_is_named(
    make_model: Callable[..., Path], edit: Callable[["onnx.ModelProto"], None], message: str
) -> None:
    path = make_model(change(edit), precision="int8", labels=LABELS)
    with pytest.raises(ModelError, match=message) as error:
        page_model(path.read_bytes())
    assert "\n" not in str(error.value)


def test_a_float_or_damaged_model_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="float32: export it with --quantize"):
        page_model(tiny_model.read_bytes())
    damaged = bytearray(NANO)
    damaged[len(NANO) // 2] ^= 1
    with pytest.raises(ModelError, match="damaged"):
        page_model(bytes(damaged))


def test_metadata_without_a_reject_rule_and_own_labels_are_kept(make_model: Callable[..., Path]) -> None:
    labels = [f"Tür {i}" for i in range(9)] + ["\ud800"]  # no text, but JSON
    path = make_model(change(lambda model: None), precision="int8", labels=labels, temperature=2.5)
    data = page_model(path.read_bytes())
    (length,) = struct.unpack("<I", data[40:44])
    document = json.loads(data[44 : 44 + length])
    assert (document["labels"], document["temperature"], document["reject"]) == (labels, 2.5, None)
