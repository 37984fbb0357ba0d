"""Checksums and limits: a damaged, truncated or dangerous model file is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from fmnist_runtime import Classifier, ModelError

Make = Callable[..., Path]


@pytest.mark.parametrize("position", [40, -90, 0.5])
def test_a_flipped_byte_is_refused(tiny_model: Path, position: float) -> None:
    data = bytearray(tiny_model.read_bytes())
    data[int(len(data) * position) if isinstance(position, float) else position] ^= 1
    tiny_model.write_bytes(data)
    with pytest.raises(ModelError):
        Classifier.load(tiny_model)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100, b"\x08\x09"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        Classifier.load(path)


def test_every_truncation_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    data, path = tiny_model.read_bytes(), tmp_path / "short.onnx"
    for length in range(1, len(data), 487):
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            Classifier.load(path)


def _external() -> TensorProto:
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


@pytest.mark.parametrize("place", ["initialiser", "attribute", "subgraph"])
def test_external_data_is_refused(make_model: Make, tiny_model: Path, place: str) -> None:
    import onnx

    model = onnx.load(tiny_model)
    if place == "initialiser":
        model.graph.initializer.append(_external())
    elif place == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_external()))
    else:
        inner = helper.make_graph([], "inner", [], [], [_external()])
        model.graph.node.append(helper.make_node("If", ["cond"], ["out"], then_branch=inner, else_branch=inner))
    with pytest.raises(ModelError, match="external"):
        Classifier.load(make_model(model))


def test_millions_of_empty_nodes_are_refused(tmp_path: Path) -> None:
    nodes = b"\x0a\x00" * 1_000_001
    length = bytes(
        [len(nodes) & 127 | 128, len(nodes) >> 7 & 127 | 128, len(nodes) >> 14 & 127 | 128, len(nodes) >> 21]
    )
    (tmp_path / "x.onnx").write_bytes(b"\x3a" + length + nodes)  # Model.graph of Graph.node
    with pytest.raises(ModelError, match="1,000,000 parts"):
        Classifier.load(tmp_path / "x.onnx")


def test_sha256_and_sums(tiny_model: Path) -> None:
    import hashlib

    right = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    Classifier.load(tiny_model, sha256=right)
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tiny_model, sha256="0" * 64)
    tiny_model.with_name("SHA256SUMS").write_text(f"{'1' * 64}  {tiny_model.name}\n")
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tiny_model)
