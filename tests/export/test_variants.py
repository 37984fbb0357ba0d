"""Float16 and the ORT format: they load, verify, and are protected like the ONNX files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from fmnist_export.formatting import format_inspection
from fmnist_export.inspection import inspect_model
from fmnist_export.verify import verify
from fmnist_runtime import Classifier
from fmnist_runtime.errors import FmnistError, ModelError
from fmnist_runtime.selftest import selftest
from fmnist_runtime.webpage import page_files
from fmnist_train.data.sources import find_dataset

FILES = ["model.onnx", "model.ort", "model.fp16.onnx", "model.int8.onnx", "model.int8.ort"]


@pytest.mark.parametrize("name", FILES)
def test_each_file_loads_verifies_and_describes_itself(exported: Path, name: str) -> None:
    classifier = Classifier.load(exported / name)
    replay = selftest(classifier)
    assert replay.passed and (replay.tolerance == 0) == ("int8" in name)
    assert all(claim.holds for claim in verify(exported / name, find_dataset("sample")))
    found = inspect_model(exported / name)
    assert (
        found["macs"] == (22_650_880 if "int8" in name else 22_199_296)
        and len([n for n in found["executed"] if n["weight"]]) == 7
    )
    assert ("ORT format" in format_inspection(found)) == name.endswith(".ort")


@pytest.mark.parametrize("name", ["model", "model.int8"])
def test_an_ort_file_states_and_computes_the_same_as_its_onnx_file(exported: Path, name: str) -> None:
    one, other = (Classifier.load(exported / f"{name}.{kind}") for kind in ("onnx", "ort"))
    documents = [dict(c.metadata.document) for c in (one, other)]
    assert documents[0].pop("sha256") != documents[1].pop("sha256") and documents[0] == documents[1]
    images = find_dataset("sample").load("test").images[:100, None]
    difference = np.abs(one.logits(images) - other.logits(images)).max()
    assert difference == 0 if "int8" in name else difference < 1e-4


def test_a_flipped_byte_in_an_ort_file_is_refused(exported: Path, tmp_path: Path) -> None:
    data, path = (exported / "model.int8.ort").read_bytes(), tmp_path / "model.ort"
    for position in [4, len(data) - 1, *np.random.default_rng(0).integers(0, len(data), 50)]:
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelError):
            Classifier.load(path)
    for end in (0, 8, 1000, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            Classifier.load(path)


def test_a_folder_may_hold_an_ort_file_alone_and_the_page_wants_onnx(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "model.int8.ort").write_bytes((exported / "model.int8.ort").read_bytes())
    assert Classifier.load(tmp_path).metadata.precision == "int8"
    with pytest.raises(FmnistError, match=r"name the .onnx file"):
        page_files((exported / "model.int8.ort").read_bytes())


def test_float16_is_half_inside_and_float_outside(exported: Path) -> None:
    model = onnx.load(exported / "model.fp16.onnx")
    types = {i.name: i.data_type for i in model.graph.initializer}
    assert sum(t == TensorProto.FLOAT16 for t in types.values()) == 16  # weights, biases, mean and standard deviation
    assert sum(t == TensorProto.FLOAT for t in types.values()) == 1  # the temperature
    (first,) = [n for n in model.graph.node if "image" in n.input]
    assert first.op_type == "Cast" and model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
