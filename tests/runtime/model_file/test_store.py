"""Where a model is found, and which files are refused before they are parsed."""

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file import store
from fmnist_runtime.model_file.store import DEFAULT_MODEL, embedded_models, find_model, read_model


def test_names_files_and_folders(tmp_path: Path) -> None:
    assert find_model() == find_model(DEFAULT_MODEL) == embedded_models()[DEFAULT_MODEL]
    (tmp_path / "model.onnx").write_bytes(b"float")
    assert find_model(tmp_path) == tmp_path / "model.onnx"
    (tmp_path / "model.int8.onnx").write_bytes(b"int8")
    assert find_model(str(tmp_path)) == tmp_path / "model.int8.onnx"
    assert find_model(tmp_path / "model.onnx") == tmp_path / "model.onnx"


def test_a_path_is_no_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model(Path("nano")) == embedded_models()["nano"]
    Path("nano").mkdir()
    mine = Path("nano/model.int8.onnx")
    mine.write_bytes(b"mine")
    assert find_model("nano") == embedded_models()["nano"]
    assert find_model("./nano") == find_model("nano/") == find_model(Path("nano")) == mine
    with pytest.raises(ModelError, match=r"^\./micro: no such file or folder; the embedded model is called micro$"):
        find_model("./micro")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_model("~/nano") == tmp_path / mine


@pytest.mark.parametrize("name", ["improvd", "IMPROVED", "a" * 5000, "no/such/file.onnx"])
def test_an_unknown_model_lists_the_embedded_ones(name: str) -> None:
    with pytest.raises(ModelError, match="no such model file") as refusal:
        find_model(name)
    assert all(known in str(refusal.value) for known in embedded_models())
    assert ("did you mean improved?" in str(refusal.value)) == (name in ("improvd", "IMPROVED"))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the folder holds no model \(model\.int8\.onnx or "):
        find_model(tmp_path)


def test_files_that_cannot_be_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(tmp_path)
    path = tmp_path / "x.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="is empty"):
        read_model(path)
    monkeypatch.setattr(store, "MAX_BYTES", 1 << 20)
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        read_model(path)
    path.write_bytes(bytes(1 << 20))
    assert len(read_model(path)) == 1 << 20


@pytest.mark.parametrize("mark", [" ", "*"])
def test_a_listed_file_is_verified(mark: str, tmp_path: Path) -> None:
    path, sums = tmp_path / "model.onnx", tmp_path / "SHA256SUMS"
    path.write_bytes(b"data")
    digits = hashlib.sha256(b"data").hexdigest()
    sums.write_text(f"{'0' * 64}  other.onnx\n{digits} {mark}model.onnx\n")
    assert read_model(path) == read_model(path, digits) == b"data"
    sums.write_text(f"{'0' * 64} {mark}model.onnx\n")
    with pytest.raises(ModelError, match="another file"):
        read_model(path)


def test_a_list_without_the_file_is_refused_only_for_the_usual_names(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  other.onnx\n")
    (tmp_path / "mine.onnx").write_bytes(b"data")
    (tmp_path / "model.onnx").write_bytes(b"data")
    assert read_model(tmp_path / "mine.onnx") == b"data"
    with pytest.raises(ModelError, match=r"does not list model\.onnx"):
        read_model(tmp_path / "model.onnx")


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "model.onnx").write_bytes(b"data")
    with pytest.raises(ModelError, match="SHA256SUMS: cannot be read"):
        read_model(tmp_path / "model.onnx")


def test_a_list_is_read_in_bounded_memory(tmp_path: Path) -> None:
    listed = tmp_path / "SHA256SUMS"
    with listed.open("wb") as file:
        file.truncate(1 << 33)  # takes no space on the disk
    (tmp_path / "model.onnx").write_bytes(b"data")
    tracemalloc.start()
    with pytest.raises(ModelError, match=r"does not list model\.onnx"):
        read_model(tmp_path / "model.onnx")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_the_folder_of_a_training_names_its_export(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(ModelError, match="it is the folder of a training: export it with fmnist-export"):
        find_model(tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model.onnx").touch()
    with pytest.raises(ModelError, match=r"its exported model is in .*export: name that"):
        find_model(tmp_path)


def test_a_checkpoint_is_named_as_such() -> None:
    with pytest.raises(ModelError, match="the checkpoint of a training: export it with fmnist-export, and name the"):
        read_model(Path(__file__).parents[3] / "artifacts" / "nano" / "best.safetensors")
