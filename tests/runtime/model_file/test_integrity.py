"""Checksums and limits: a damaged, truncated or dangerous model file is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.model_file.integrity import (
    checksum_span,
    file_checksum,
    verify_checksum,
    verify_structure,
)

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


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph"])
def test_external_data_is_refused(make_model: Make, tiny_model: Path, place: str) -> None:
    import onnx

    model = onnx.load(tiny_model)
    if place == "initializer":
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
    for wrong in ("", " ", 5):  # such as a variable of the environment that is not set
        with pytest.raises(ModelError, match="is not a SHA-256"):
            Classifier.load(tiny_model, sha256=wrong)
    tiny_model.with_name("SHA256SUMS").write_text(f"{'1' * 64}  {tiny_model.name}\n")
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tiny_model)


def test_an_ort_file_has_one_checksum_and_no_external_data() -> None:
    head, field = b"\0\0\0\0ORTM", b"\x40\x00\x00\x00" + b"0" * 64 + b"\x00"
    data = head + field + b"the rest"
    span = checksum_span(data)
    assert span is not None and data[span] == b"0" * 64
    sealed = bytearray(data)
    sealed[span] = file_checksum(data, span).encode()
    verify_checksum(bytes(sealed))
    verify_structure(data)
    sealed[-1] ^= 1
    with pytest.raises(ModelError, match="do not match its checksum"):
        verify_checksum(bytes(sealed))
    for other in (head, head + 2 * field):
        assert checksum_span(other) is None
        with pytest.raises(ModelError, match="no fmnist checksum"):
            verify_checksum(other)


def test_a_second_checksum_is_refused(tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.metadata_props.add(key="fmnist.sha256", value="1" * 64)
    with pytest.raises(ModelError, match="no fmnist checksum"):
        verify_checksum(model.SerializeToString())


def _message(field: int, content: bytes) -> bytes:
    assert len(content) < 16384
    return bytes([field << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


def test_nesting_without_end_is_refused() -> None:
    graph = b""
    for _ in range(60):  # a graph in an attribute of a node of a graph
        graph = _message(1, _message(5, _message(6, graph)))
    with pytest.raises(ModelError, match="deeper than 100 messages"):
        verify_structure(_message(7, graph))


@pytest.mark.parametrize("data", [b"\x38\x01", _message(7, b"\x08\x01"), _message(7, b"\x0b"), b"\x3a\x7f"])
def test_other_wire_types_and_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="damaged or of another kind"):
        verify_structure(data)


def test_a_model_without_a_graph_is_refused() -> None:
    with pytest.raises(ModelError, match="no graph"):
        verify_structure(b"\x08\x09")
