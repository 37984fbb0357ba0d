"""Construction of the service."""

from pathlib import Path

import pytest

from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.serve.build import build_service
from fmnist_runtime.serve.settings import Settings


def test_the_model_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    original = Path.open

    def counting_open(path: Path, *args: object, **options: object) -> object:
        opened.append(path)
        return original(path, *args, **options)

    monkeypatch.setattr(Path, "open", counting_open)
    with build_service("nano", Settings()):
        pass
    assert [path for path in opened if path.suffix == ".onnx"] == [find_model("nano")]
