"""Files of an export: sizes, checksums, and the copy in the runtime package."""

import json
from pathlib import Path

import pytest

from fmnist_export.artifacts import publish_model
from fmnist_runtime.errors import ModelError

SHIPPED = Path(__file__).parents[2] / "artifacts" / "nano"
"""The smallest model that ships."""
FILES = ["model.onnx", "model.ort", "model.fp16.onnx", "model.int8.onnx", "model.int8.ort"]


def test_the_report_lists_all_sizes_and_the_sums_cover_all_files(exported: Path) -> None:
    sizes = json.loads((exported / "parity.json").read_text())["sizes"]
    assert [about["file"] for about in sizes] == FILES
    text = (exported / "parity.txt").read_text()
    for about in sizes:
        assert (
            about["bytes"] == (exported / about["file"]).stat().st_size > about["compressed"] and about["file"] in text
        )
    assert sorted(line.split()[1] for line in (exported / "SHA256SUMS").read_text().splitlines()) == sorted(FILES)
    by_name = {about["file"]: about["bytes"] for about in sizes}
    assert by_name["model.fp16.onnx"] < 0.52 * by_name["model.onnx"]


def test_publishing_lists_a_checked_model(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("nano\n")
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.int8.onnx", "SHA256SUMS"):
        (folder / name).write_bytes((SHIPPED / name).read_bytes())
    assert publish_model(folder, names) == folder / "model.int8.onnx"
    assert names.read_text() == "mine\nnano\n"
    publish_model(folder, names)
    assert names.read_text() == "mine\nnano\n"
    (folder / "model.int8.onnx").write_bytes((SHIPPED / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="another file"):
        publish_model(folder, names)
