"""Fixtures of the C generator's tests: generated folders and compilers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from fmnist_export.c.emit import Source, generate
from fmnist_export.c.proof import write_files
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.network.reader import read_network


@pytest.fixture
def need() -> Callable[[str], str]:
    """Returns a tool's path, or skips the test."""

    def find(tool: str) -> str:
        path = shutil.which(tool)
        if path is None:
            pytest.skip(f"{tool} is not installed")
        return path

    return find


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
