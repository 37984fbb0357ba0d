"""The demo runs from the first step to the last, and leaves what it promises."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_runtime import Classifier

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_ends_with_a_report_a_picture_and_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = [sys.executable, ROOT / "examples" / "demo.py", "demo"]
    done = subprocess.run(demo, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done in" in done.stdout and "Trouser" in done.stdout
    for name in ("evaluation/report.html", "export/model.int8.onnx", "photos.png", "page/index.html"):
        assert (folder / name).is_file() and f"{folder}/" in done.stdout, name


def test_the_demo_removes_no_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"mine")
    for folder in ("photos", tmp_path / "photos", tmp_path / "photos" / "a.jpg"):
        demo = [sys.executable, ROOT / "examples" / "demo.py", folder]
        done = subprocess.run(demo, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.endswith(f"{folder} exists: name a new folder\n")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"mine"


def test_the_demo_removes_only_an_earlier_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec and spec.loader
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.setattr(demo, "step", lambda *_: (tmp_path / "runs" / "demo" / "result").touch(exist_ok=False))
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with pytest.raises(FileExistsError):  # in the second step: the first one has written its file
        demo.main()
    with pytest.raises(FileExistsError):
        demo.main()
    (tmp_path / "runs" / "demo" / demo.MARK).unlink()
    with pytest.raises(SystemExit):
        demo.main()
    assert "runs/demo exists: name a new folder" in capsys.readouterr().err
    assert (tmp_path / "runs" / "demo" / "result").exists()


def test_the_sheet_marks_what_the_file_name_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = ROOT / "benchmarks" / "studies"
    monkeypatch.syspath_prepend(str(studies))
    spec = importlib.util.spec_from_file_location("photo_sheet", studies / "photo_sheet.py")
    assert spec and spec.loader
    sheet = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sheet)
    classifier = Classifier.load()
    trousers = classifier(ROOT / "examples" / "trouser.jpg")
    verdicts = [
        sheet.verdict(Path(f"{name}.jpg"), classifier, trousers)
        for name in ("trouser", "bag-or-trouser", "bag", "IMG_1")
    ]
    assert verdicts == ["correct", "correct", "hard: wrong", ""]
    assert sheet.verdict(Path("tshirt-top.jpg"), classifier, trousers) == "hard: wrong"
