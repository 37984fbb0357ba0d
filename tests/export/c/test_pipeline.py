"""The command ``fmnist-export c``: the gate, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from fmnist_export.c import emit, pipeline
from fmnist_export.c.comparison import find_compiler
from fmnist_export.cli import main
from fmnist_export.metadata import stamp
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model

ARTIFACTS = Path(__file__).parents[3] / "artifacts"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fmnist-export", "c", *arguments, "--data", "sample"])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler is installed")


@needs_compiler
def test_writes_what_it_has_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "firmware"
    for _ in range(2):  # a second run replaces the files of the first
        assert run(monkeypatch, "nano", "-o", str(output), "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert report["images"] == 1000
        assert sorted(report["files"]) == sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())
    header = (output / "src" / "fmnist_nano.h").read_text()
    assert f"#define FMNIST_NANO_SCRATCH_BYTES {report['scratch']} " in header
    assert run(monkeypatch, str(ARTIFACTS / "nano"), "-o", str(tmp_path / "b"), "--name", "x1") == 0
    assert "fmnist_x1_classify" in (tmp_path / "b" / "src" / "fmnist_x1.h").read_text()


@needs_compiler
def test_gate_refuses_other_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = emit._pack
    monkeypatch.setattr(emit, "_pack", lambda layer: np.where(right(layer) == 64, 63, right(layer)).astype(np.int8))
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "out")) == 3
    assert "other logits than onnxruntime" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "compare_with_onnxruntime", lambda *_, **__: pytest.fail("compared first"))
    (tmp_path / "file").touch()
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "file" / "out")) == 1
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err


def test_an_unbalanced_quote_in_cc_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "gcc '")
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "out")) == 2
    assert "the environment variable CC: No closing quotation" in capsys.readouterr().err


def test_without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pipeline, "find_compiler", lambda: None)
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "out")) == 0
    assert "no C compiler" in capsys.readouterr().err
    assert (tmp_path / "out" / "src" / "fmnist_nano.c").is_file()


def external(path: Path) -> None:
    model = onnx.load_model_from_string(find_model("nano").read_bytes())
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def damaged(path: Path) -> None:
    data = bytearray(find_model("nano").read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def without_selftest(path: Path) -> None:
    model = onnx.load_model_from_string(find_model("nano").read_bytes())
    document = Metadata.from_props({entry.key: entry.value for entry in model.metadata_props}).document
    path.write_bytes(stamp(model, {key: document[key] for key in document.keys() - {"sha256", "selftest"}}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external, "external"),
        (damaged, "damaged"),
        (lambda path: path.write_bytes(b"x"), "not an ONNX model"),
        (without_selftest, "no self-test images"),
    ],
)
def test_refuses_bad_files(
    make: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    make(tmp_path / "net.onnx")
    assert run(monkeypatch, str(tmp_path / "net.onnx"), "-o", str(tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert message in error or "checksum" in error
    assert error.startswith(f"error: {tmp_path / 'net.onnx'}: ") and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_refuses_float_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(ARTIFACTS / "nano" / "model.onnx"), "-o", str(tmp_path / "out")) == 1
    assert "this one is float32" in capsys.readouterr().err


def test_refuses_names_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("", "a b", "größe", "a.b", "x" * 41):
        assert run(monkeypatch, "nano", "-o", str(tmp_path / "out"), "--name", name) == 2
        assert "--name" in capsys.readouterr().err
    for name in ("prepare", "Prepare"):  # there is a fmnist_prepare.h already
        assert run(monkeypatch, "nano", "-o", str(tmp_path / "out"), "--name", name) == 2
        assert "is the name of a file beside the model's" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "file")) == 1
    other = tmp_path / "project" / "CMakeLists.txt"
    other.parent.mkdir()
    other.write_text("project(mine)")
    assert run(monkeypatch, "nano", "-o", str(other.parent)) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert [p.name for p in other.parent.iterdir()] == ["CMakeLists.txt"]
    (tmp_path / "photos" / "trouser").mkdir(parents=True)
    assert run(monkeypatch, "nano", "-o", str(tmp_path / "photos")) == 2
    assert "holds other files, such as trouser" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["trouser"]


def rename_layer(model: onnx.ModelProto) -> None:
    old = next(node for node in model.graph.node if node.op_type == "Conv").output[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["a**//\n#error written by the model\n/*" if name == old else name for name in names]


@needs_compiler
@pytest.mark.parametrize(
    ("change", "fields", "name"),
    [
        (rename_layer, {}, "net.onnx"),
        (None, {"labels": ['\ud800"*/', *"bcdefghij"]}, "net.onnx"),
        (None, {"accuracy": None}, "net.onnx"),
        (None, {"accuracy": {"int8": {"accuracy": 10**400, "images": "*/"}}}, "net.onnx"),
        (None, {}, "net\n#error\n\udcff\\"),
    ],
)
def test_no_text_of_a_model_becomes_code(
    change: object, fields: dict, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_model_from_string(find_model("nano").read_bytes())
    if callable(change):
        change(model)
    document = Metadata.from_props({entry.key: entry.value for entry in model.metadata_props}).document
    (tmp_path / name).write_bytes(stamp(model, {key: document[key] for key in document if key != "sha256"} | fields))
    assert run(monkeypatch, str(tmp_path / name), "-o", str(tmp_path / "out"), "--name", "x") == 0
    for path in (tmp_path / "out" / "CMakeLists.txt", tmp_path / "out" / "examples" / "classify" / "classify.ino"):
        assert path.read_text().splitlines()[0].endswith("; do not edit.")
