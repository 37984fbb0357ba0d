"""The command as a user runs it: export is the default, inspect and verify stand beside it."""

import json
from pathlib import Path

import pytest

from fmnist_export.cli import main

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
    for arguments in (["--help"], ["export", "--help"], ["inspect", "--help"], ["verify", "--help"]):
        assert run(monkeypatch, *arguments) == 0
        assert "--json" in capsys.readouterr().out
    assert run(monkeypatch, SHIPPED, "--quantize", "--target", "abacus") == 2
    assert "portable, vnni" in capsys.readouterr().err
    for option in ("--rescue", "--target=vnni", "--calibration=entropy", "--calibration-images=9"):
        assert run(monkeypatch, SHIPPED, option) == 2
        assert "add --quantize" in capsys.readouterr().err
