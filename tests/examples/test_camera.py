"""The camera example, with captures that are made up."""

import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime import Classifier

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOS = [np.asarray(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")) for name in ("shirt", "sandal")]


@pytest.fixture
def camera() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("camera_example", EXAMPLES / "camera.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Capture:
    """OpenCV's capture of a film: ten frames a second, two seconds of each photo."""

    released = False

    def __init__(self, source: object) -> None:
        self.source, self.position = source, -1

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.source != "gone.mp4"

    def grab(self) -> bool:
        self.position += 1
        return self.position < 40

    def get(self, prop: int) -> float:
        assert prop == 0
        return self.position * 100.0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, PHOTOS[self.position // 20][..., ::-1]

    def release(self) -> None:
        Capture.released = True


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module ``cv2`` that has only what the example uses."""
    module = ModuleType("cv2")
    module.VideoCapture, module.CAP_PROP_POS_MSEC = Capture, 0
    monkeypatch.setitem(sys.modules, "cv2", module)
    Capture.released = False


def test_a_film_is_classified_by_its_time(camera, opencv, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main(["film.mp4", "--json", "--all"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [Classifier.load()(photo).to_dict() for photo in PHOTOS]
    assert answers == [expected[0]] * 4 + [expected[1]] * 4 and Capture.released


def test_only_changes_are_printed(camera, opencv, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main(["film.mp4", "--interval", "0.1", "--model", "improved"]) == 0
    classifier = Classifier.load("improved")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "two photos, each shown for two seconds"
    for line, photo in zip(lines, PHOTOS, strict=True):
        assert line.startswith(classifier(photo).label or "I don't know")


def test_it_stops_after_a_number_of_answers(camera, opencv, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main(["0", "--count", "1", "--interval", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 and Capture.released


@pytest.mark.parametrize("source", ["0", "http://camera/stream"])
def test_a_live_source_goes_by_the_clock_and_its_end_is_an_error(
    camera, opencv, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(camera.time, "monotonic", lambda: next(ticks) / 10)  # ten frames a second
    assert camera.main([source, "--all"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 8 and shown.err == f"error: {source}: gives no more frames\n"


def test_the_camera_module_of_a_raspberry_pi(camera, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[object] = []

    class Picamera2:
        def create_preview_configuration(self, main: dict) -> dict:
            return main

        def configure(self, main: dict) -> None:
            calls.append(main["format"])

        def start(self) -> None:
            calls.append("start")

        def capture_array(self) -> np.ndarray:
            return PHOTOS[0]

        def stop(self) -> None:
            calls.append("stop")

    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)
    assert camera.main(["picamera2", "--all", "--count", "3", "--interval", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 and calls == ["BGR888", "start", "stop"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def Picamera2(): raise IndexError('list index out of range')", "no camera is found, or another program uses"),
        ("def Picamera2(): raise RuntimeError('Device or resource busy')", "(Device or resource busy): rpicam-hello"),
        ("raise ValueError('numpy.dtype size changed')", "pip install 'numpy<2'"),
    ],
)
def test_what_picamera2_raises_is_one_line(
    camera, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picamera2.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    assert camera.main(["picamera2"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    sys.modules.pop("picamera2", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["gone.mp4"], "gone.mp4: no such camera"), (["0", "--model", "nothing.onnx"], "nothing.onnx: no such model")],
)
def test_errors_are_one_line(camera, opencv, arguments, message, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main(arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(("source", "module"), [("0", "cv2"), ("picamera2", "picamera2")])
def test_a_missing_library_is_named(camera, monkeypatch, source, module, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert camera.main([source]) == 2
    assert "is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--interval=x", "--interval=-1", "--interval=nan", "--count=0", "--count=-3"])
def test_impossible_numbers_are_refused(camera, opencv, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main(["film.mp4", option]) == 2
    assert "is not a" in capsys.readouterr().err


def test_a_reader_that_ends_is_no_error(camera, opencv, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert camera.main(["film.mp4", "--all"]) == 0
