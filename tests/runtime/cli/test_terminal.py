"""Names of files and labels of answers cannot control the terminal: no escape sequence, no line of their own."""

import json
import os
import shlex
from pathlib import Path

import pytest
from PIL import Image

from fmnist_runtime.cli.infer import infer
from fmnist_runtime.cli.inputs import FolderWatch
from fmnist_runtime.console import run_argparse
from fmnist_runtime.drift.cli import drift
from fmnist_runtime.image_io.sources import expand

HOSTILE = "a\nerror: \x1b[31mred\x1b]0;title\x07"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")


def shows_no_control(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_hidden_names_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    Image.new("L", (28, 28)).save(folder / f".{HOSTILE}.png")
    list(expand([folder], report=True))
    FolderWatch(folder, 1)
    assert len(caplog.records) == 2 and all(record.getMessage().isprintable() for record in caplog.records)


def test_answers_and_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"{HOSTILE}.png").write_bytes(b"no picture")
    Image.new("L", (28, 28)).save(tmp_path / f"{HOSTILE}.gif")
    assert run_argparse(infer, args=[str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == err.count("\n") == 1 and shows_no_control(out) and shows_no_control(err)


@pytest.mark.parametrize(
    "arguments",
    [["x.png", f"--{HOSTILE.replace(chr(32), '')}"], ["x.png", "--threads", HOSTILE], ["selftest", HOSTILE]],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_argparse(infer, args=arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and shows_no_control(err)


def test_labels_of_answers_in_the_table_and_the_chart_of_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = json.dumps({"rejected": False, "label": HOSTILE, "probability": 0.9})
    (tmp_path / "day").write_text("\n".join([answer] * 50))
    day = str(tmp_path / "day")
    assert run_argparse(drift, args=[day, day, "--picture", str(tmp_path / "chart.png")]) == 0
    out = capsys.readouterr().out
    assert shows_no_control(out) and "\\x1b[31mred" in out and (tmp_path / "chart.png").stat().st_size


def test_the_command_that_is_shown_can_be_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my page; it's"
    assert run_argparse(infer, args=["web", str(folder), "--model", "nano"]) == 0
    assert shlex.split(capsys.readouterr().out.partition("for example: ")[2])[-1] == str(folder)
