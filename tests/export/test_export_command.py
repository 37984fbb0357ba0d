"""The command as a user runs it: export is the default, inspect and verify stand beside it."""

import json
from pathlib import Path

import pytest
import torch

from fmnist_export.artifacts import publish_model
from fmnist_export.cli import main
from fmnist_runtime.errors import ModelError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.models import build_model

SHIPPED = str(Path(__file__).parents[2] / "artifacts" / "improved")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fmnist-export", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_export_then_inspect_then_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(monkeypatch, SHIPPED, "--quantize", "--data", "sample", "-o", str(tmp_path), "--calibration-images", "256")
        == 0
    )
    assert "ONNX int8" in capsys.readouterr().out
    assert run(monkeypatch, "inspect", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["precision"] == "int8"
    assert run(monkeypatch, "verify", str(tmp_path), "--data", "sample") == 0
    assert "holds  correct answers" in capsys.readouterr().out
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "model.int8.onnx").write_bytes(b"x")
    for command in ("inspect", "verify"):
        assert run(monkeypatch, command, str(tmp_path)) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_help_and_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("export", "inspect", "verify", "c", "publish"))
    for arguments in (["export", "--help"], ["inspect", "--help"], ["verify", "--help"]):
        assert run(monkeypatch, *arguments) == 0
        assert "--json" in capsys.readouterr().out
    assert run(monkeypatch, SHIPPED, "--quantize", "--target", "abacus") == 2
    assert "portable, vnni" in capsys.readouterr().err
    for option in ("--rescue", "--target=vnni", "--calibration=entropy", "--calibration-images=9"):
        assert run(monkeypatch, SHIPPED, option) == 2
        assert "add --quantize" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["best.pth", "whole.pt"])
def test_foreign_weights_are_refused_and_never_replaced_by_the_file_beside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.safetensors").write_bytes((Path(SHIPPED) / "best.safetensors").read_bytes())
    (tmp_path / name).write_bytes(b"PK")
    assert run(monkeypatch, str(tmp_path / name), "--data", "sample", "-o", str(tmp_path / "out")) == 1
    message = capsys.readouterr().err
    assert name in message and "Weights from elsewhere" in message and not (tmp_path / "out").exists()
    assert run(monkeypatch, str(tmp_path / "best"), "--data", "sample", "-o", str(tmp_path / "out")) == 0
    assert f"checkpoint: {tmp_path / 'best.safetensors'}" in capsys.readouterr().err


def test_publishing_copies_a_checked_model(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.int8.onnx", "SHA256SUMS"):
        (folder / name).write_bytes((Path(SHIPPED) / name).read_bytes())
    target = publish_model(folder, tmp_path / "models")
    assert target == tmp_path / "models" / "mine.onnx"
    assert target.read_bytes() == (Path(SHIPPED) / "model.int8.onnx").read_bytes()
    (folder / "model.int8.onnx").write_bytes((Path(SHIPPED) / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="another file"):
        publish_model(folder, tmp_path / "models")


def test_weights_from_elsewhere_come_in_as_the_guide_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    code = guide.split("## Weights from elsewhere")[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    torch.save(build_model("improved").state_dict(), "weights.pt")
    exec(code, {})
    assert load_checkpoint("runs/mine").info["labels"] == list(DATASET_LABELS)
