"""The command as a user runs it: export is the default, inspect and verify are subcommands."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fmnist_runtime.model_file.store import NAMES_FILE
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.models import build_model

SHIPPED = Path(__file__).parents[2] / "artifacts" / "micro"
"""The smallest model that ships."""
Run = Callable[..., int]


def test_export_then_inspect_then_verify(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SHIPPED, "--quantize", "--data", "sample", "-o", str(tmp_path), "--calibration-images", "1024") == 0
    assert "ONNX int8" in capsys.readouterr().out
    assert run("inspect", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["precision"] == "int8"
    assert run("verify", str(tmp_path), "--data", "sample") == 0
    assert "holds  correct answers" in capsys.readouterr().out
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "model.int8.onnx").write_bytes(b"x")
    for command in ("inspect", "verify"):
        assert run(command, str(tmp_path)) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_help_and_usage(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"│ {name} " in shown for name in ("export", "inspect", "verify", "c", "publish"))
    for arguments in (["export", "--help"], ["inspect", "--help"], ["verify", "--help"]):
        assert run(*arguments) == 0
        assert "--json" in capsys.readouterr().out
    assert run(SHIPPED, "--quantize", "--target", "abacus") == 2
    assert "'portable', 'vnni'" in capsys.readouterr().err
    for option in ("--rescue", "--target=vnni", "--calibration=entropy", "--calibration-images=9"):
        assert run(SHIPPED, option) == 2
        assert "add --quantize" in capsys.readouterr().err
    assert run("inspct", "improved") == 2
    assert "no such command 'inspct'. Did you mean 'inspect'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--quantize", "inspect", "improved"], "--quantize before inspect: write "),
        (["--output", "new", "verify", "improved"], "--output before verify: write "),
        (["--output=new", "c", "improved"], "--output before c: write "),
        (["--output", "inspect", "missing"], "missing: no checkpoint here"),
        (["--quantize", "--output", "c", "missing"], "missing: no checkpoint here"),
    ],
)
def test_options_before_a_subcommand_are_refused_and_values_are_none(
    arguments: list[str], advice: str, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) in (1, 2)
    assert capsys.readouterr().err.startswith(f"error: {advice}") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["best.pth", "whole.pt"])
def test_foreign_weights_are_refused_and_never_replaced_by_the_file_beside(
    name: str, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.safetensors").write_bytes((SHIPPED / "best.safetensors").read_bytes())
    (tmp_path / name).write_bytes(b"PK")
    assert run(str(tmp_path / name), "--data", "sample", "-o", str(tmp_path / "out")) == 1
    message = capsys.readouterr().err
    assert name in message and "Weights from elsewhere" in message and not (tmp_path / "out").exists()
    assert run(str(tmp_path / "best"), "--data", "sample", "-o", str(tmp_path / "out")) == 0
    assert f"checkpoint: {tmp_path / 'best.safetensors'}" in capsys.readouterr().err


def test_weights_from_elsewhere_come_in_as_the_guide_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    code = guide.split("## Weights from elsewhere")[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    torch.save(build_model("improved").state_dict(), "weights.pt")
    exec(code, {})
    assert load_checkpoint("runs/mine").info["labels"] == list(DATASET_LABELS)


def test_inspect_prints_the_license() -> None:
    from fmnist_export.formatting import format_inspection
    from fmnist_export.inspection import inspect_model

    model = Path(__file__).parents[2] / "artifacts" / "nano" / "model.int8.onnx"
    assert "\nlicense: MIT" in format_inspection(inspect_model(model))


@pytest.mark.parametrize("name", ["nano", "my model"])
def test_only_a_model_of_the_checkout_is_embedded(
    name: str, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = NAMES_FILE.read_bytes()
    shutil.copytree(SHIPPED, tmp_path / name)
    folder = tmp_path if name == "nano" else SHIPPED.parent
    assert run("publish", name, "--artifacts", str(folder)) == 2
    assert "whose names have no spaces: copy the folder there" in capsys.readouterr().err
    assert NAMES_FILE.read_bytes() == before


def test_a_second_export_names_the_card_of_the_first(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (SHIPPED, "--data", "sample", "-o", str(tmp_path))
    assert run(*command, "--evidence") == 0
    assert "earlier export" not in capsys.readouterr().err
    assert run(*command) == 0
    assert "note: README.md and metrics.json are of an earlier export; --evidence writes" in capsys.readouterr().err


def test_weights_without_metrics_have_no_card_and_a_note(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("best.safetensors", "best.json"):
        shutil.copy(SHIPPED / name, tmp_path)
    assert run(str(tmp_path), "--data", "sample", "--evidence") == 0
    assert "note: no model card, because the run has no metrics.json" in capsys.readouterr().err
    assert not (tmp_path / "export" / "README.md").exists()
