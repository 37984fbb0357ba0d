"""Construction of the service."""

from pathlib import Path

import pytest

from fmnist_runtime import Classifier, Prediction
from fmnist_runtime.errors import ModelError
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


def test_a_photo_is_classified_before_the_service_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries take their memory at the first photo, and may end the process."""
    sides: list[int] = []
    original = Classifier.results

    def spy(classifier: Classifier, pictures: list, **options: object) -> list:
        found = original(classifier, pictures, **options)
        sides.extend(
            len(picture) for picture, result in zip(pictures, found, strict=True) if isinstance(result, Prediction)
        )
        return found

    monkeypatch.setattr(Classifier, "results", spy)
    with build_service("nano", Settings(workers=1)):
        assert sides == [64]  # larger than the network's input, so that it is segmented


def test_a_model_that_the_page_cannot_run_is_served_without_the_page(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_runtime.selftest.require_selftest", lambda classifier: None)  # it carries no images
    with caplog.at_level("WARNING", "fmnist_runtime.serve"), build_service(str(tiny_model), Settings()) as service:
        paths = {route.path for route in service._app.routes}
    assert "/classify" in paths and "/" not in paths
    assert [record.getMessage() for record in caplog.records] == ["no page"]
    assert caplog.records[0].fields["reason"].startswith(f"{tiny_model}: ")


def test_a_model_that_is_refused_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x3a\x02\x0a\x00")
    for workers in (1, 2):
        with (
            pytest.raises(ModelError, match=r"^\S*x\.onnx: the model has no fmnist checksum"),
            build_service(str(tmp_path / "x.onnx"), Settings(workers=workers)),
        ):
            pass
