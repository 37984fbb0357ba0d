"""What ``fmnist-infer web`` writes, without a browser."""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.cli.infer import infer
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.webpage import page_files, write_page

VECTORS = json.loads(gzip.decompress(Path(__file__).with_name("golden.json.gz").read_bytes()))
WEB = Path(__file__).parents[2] / "runtime" / "web"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_vectors(vector: dict) -> None:
    rgba = np.frombuffer(base64.b64decode(vector["rgba"]), np.uint8).reshape(vector["height"], vector["width"], 4)
    assert to_network_input(Image.fromarray(rgba)).tobytes() == base64.b64decode(vector["seen"])


def test_the_command_writes_a_page_with_the_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert infer(["web", str(tmp_path / "page")]) == 0
    assert "MB" in capsys.readouterr().out
    model = (tmp_path / "page" / "model.onnx").read_bytes()
    written = {p.relative_to(tmp_path / "page").as_posix(): p for p in (tmp_path / "page").rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in written.items()} == page_files(model)


def test_the_worker_keeps_all_that_the_page_loads() -> None:
    files = page_files(b"model")
    kept = json.loads(re.search(r"FILES = (\[.*\]);", files["sw.js"].decode())[1])
    assert set(kept) - {"./"} <= set(files)
    texts = b"".join(data for name, data in files.items() if name.endswith((".js", ".html")))
    loaded = set(re.findall(r'(?:from "\./|href="|src="|fetch\(")([\w./-]+\.\w+)"', texts.decode()))
    assert loaded - {"sw.js"} <= set(kept)
    other = page_files(b"another model")
    assert files["sw.js"] != other["sw.js"]  # a new page is a new version


def test_the_runtime_is_the_published_one() -> None:
    for line in (WEB / "vendor" / "SHA256SUMS").read_text().splitlines():
        digits, name = line.split()
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == digits
    wasm = gzip.decompress((WEB / "vendor" / "ort-wasm-simd-threaded.wasm.gz").read_bytes())
    assert wasm.startswith(b"\0asm") and len(wasm) == 11_246_032


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FmnistError, match="web: cannot write"):
        write_page(b"model", tmp_path / "file")
