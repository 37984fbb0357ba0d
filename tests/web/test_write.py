"""What ``fmnist-infer web`` writes, without a browser."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.cli.infer import infer
from fmnist_runtime.console import run_argparse
from fmnist_runtime.errors import ConfigError, FmnistError
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.webpage import page_files, write_page

VECTORS = json.loads(gzip.decompress(Path(__file__).with_name("golden.json.gz").read_bytes()))
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_vectors(vector: dict) -> None:
    rgba = np.frombuffer(base64.b64decode(vector["rgba"]), np.uint8).reshape(vector["height"], vector["width"], 4)
    assert to_network_input(Image.fromarray(rgba)).tobytes() == base64.b64decode(vector["seen"])


def test_the_command_writes_a_page_with_the_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert infer(["web", str(tmp_path / "page")]) == 0
    assert "MB" in capsys.readouterr().out
    written = {p.relative_to(tmp_path / "page").as_posix(): p for p in (tmp_path / "page").rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in written.items()} == page_files(find_model().read_bytes())


def test_a_visitor_downloads_at_most_700_kilobytes() -> None:
    assert sum(map(len, page_files(find_model().read_bytes()).values())) < 700_000


def own_model() -> bytes:
    """The embedded ``nano`` with other class names."""
    stamp = pytest.importorskip("fmnist_export.metadata", reason="the export is not installed").stamp
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(find_model("nano").read_bytes())
    document = {p.key.removeprefix("fmnist."): p.value for p in model.metadata_props}
    fields = {key: json.loads(value) for key, value in document.items() if key != "sha256"}
    data: bytes = stamp(model, fields | {"labels": [f"thing {i}" for i in range(10)]})
    return data


def test_a_page_of_other_classes_speaks_of_no_garment_and_has_no_examples() -> None:
    files, garments = page_files(own_model()), page_files(find_model("nano").read_bytes())
    seen = b"".join(files[name] for name in ("index.html", "manifest.webmanifest")).decode()
    assert not re.search("garment|trouser|coat|sneaker|sample|clothing", seen, re.IGNORECASE)
    assert "<title>What is this?</title>" in seen and "<h1>What is this?</h1>" in seen
    assert json.loads(files["manifest.webmanifest"])["name"] == "What is this?"
    assert set(garments) - set(files) == {f"samples/{name}.jpg" for name in ("coat", "sneaker", "trouser")}
    assert "samples/" not in files["sw.js"].decode()
    assert b"<h1>What garment is this?</h1>" in garments["index.html"] and b"trouser" in garments["index.html"]


def test_the_worker_keeps_all_that_the_page_loads() -> None:
    files = page_files(find_model("nano").read_bytes())
    kept = json.loads(re.search(r"FILES = (\[.*\]);", files["sw.js"].decode())[1])
    assert set(kept) == {"./", *files} - {"sw.js"}
    texts = b"".join(data for name, data in files.items() if name.endswith((".js", ".html")))
    loaded = set(re.findall(r'(?:from "\./|href="|src="|fetch\("|read\("|url = ")([\w./-]+\.\w+)"', texts.decode()))
    assert {"model.bin", "kernels.wasm", "kernels.simd.wasm"} < loaded
    assert loaded - {"sw.js"} <= set(kept)
    other = page_files(find_model("micro").read_bytes())
    assert files["sw.js"] != other["sw.js"]  # a new page is a new version


def test_a_float_model_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = ROOT / "artifacts" / "nano" / "model.onnx"
    assert run_argparse(infer, args=["web", str(tmp_path / "page"), "--model", str(model)]) == 1
    message = capsys.readouterr().err
    assert "float32" in message and "--quantize" in message and message.count("\n") == 1
    assert not (tmp_path / "page").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FmnistError, match="web: cannot write"):
        write_page(find_model("nano").read_bytes(), tmp_path / "file")


@pytest.mark.parametrize("name", ["model.bin", "parameters.js"])
def test_files_of_the_same_names_do_not_make_a_folder_a_page(name: str, tmp_path: Path) -> None:
    for file in (name, "app.js"):
        (tmp_path / file).write_text("mine")
    with pytest.raises(ConfigError, match=r"app\.js belongs to another web site; name a new folder"):
        write_page(find_model("nano").read_bytes(), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine", "app.js": "mine"}


def test_another_site_is_not_overwritten_but_an_earlier_page_is(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"index\.html belongs to another web site; name a new folder"):
        write_page(find_model("nano").read_bytes(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "mine"
    write_page(find_model("nano").read_bytes(), tmp_path / "page")
    model = (tmp_path / "page" / "model.bin").read_bytes()
    write_page(find_model("micro").read_bytes(), tmp_path / "page")
    assert (tmp_path / "page" / "model.bin").read_bytes() != model


@pytest.mark.parametrize("written", [1, 3, 11])
def test_an_interrupted_page_is_completed_by_the_next_call(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = 0
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        nonlocal replaced
        replaced += target.parent.name != path.parent.name and tmp_path in target.parents and target.suffix != ""
        if replaced > written:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_page(find_model("nano").read_bytes(), tmp_path)
    monkeypatch.undo()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == written
    write_page(find_model("nano").read_bytes(), tmp_path)
    assert (tmp_path / "sw.js").is_file()
