"""Fixtures of the C generator's tests: generated folders and compilers."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from fmnist_export.c.comparison import write_files
from fmnist_export.c.emit import Source, generate
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.network.layers import Network
from fmnist_runtime.network.page_model import pack_model
from fmnist_runtime.network.reader import read_network
from fmnist_runtime.preprocessing.parameters import parameters_json

ROOT = Path(__file__).parents[3]


@pytest.fixture
def need() -> Callable[[str], str]:
    """Returns a tool's path, or skips the test."""

    def find(tool: str) -> str:
        path = shutil.which(tool)
        if path is None:
            pytest.skip(f"{tool} is not installed")
        return path

    return find


@pytest.fixture
def page_logits(tmp_path: Path, need: Callable[[str], str]) -> Callable[[Network, np.ndarray, str], np.ndarray]:
    """Returns a function that gives a network's float32 logits, computed by the browser page's kernels in Node.js."""

    def compute(network: Network, images: np.ndarray, kernels: str) -> np.ndarray:
        node, page = need("node"), tmp_path / "page"
        shutil.copytree(ROOT / "runtime" / "web", page)
        (page / "parameters.js").write_text(f"export const PARAMETERS = {parameters_json()};")
        (page / "package.json").write_text('{"type": "module"}')  # for Node.js, scripts are modules only by this
        (page / "model.bin").write_bytes(pack_model({"labels": list("0123456789")}, network))
        (page / "images").write_bytes(images.tobytes())
        command = [node, ROOT / "tests/web/run_network.mjs", page, kernels, page / "images", page / "logits"]
        subprocess.run(command, check=True)
        return np.fromfile(page / "logits", "<f4").reshape(len(images), -1)

    return compute


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Source]]:
    """Writes an embedded model as C into a folder, once and without the gate; returns the folder and the model."""
    known: dict[str, tuple[Path, Source]] = {}

    def write(name: str) -> tuple[Path, Source]:
        if name not in known:
            data = find_model(name).read_bytes()
            proto = onnx.load_model_from_string(data)
            metadata = Metadata.from_props({p.key: p.value for p in proto.metadata_props})
            source = Source(name.replace("-", "_"), f"{name}.onnx", data, metadata)
            folder = tmp_path_factory.mktemp(source.name)
            write_files(generate(read_network(data), source), folder)
            known[name] = folder, source
        return known[name]

    return write
