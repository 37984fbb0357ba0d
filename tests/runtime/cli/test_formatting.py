"""Output forms, messages and colors."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from fmnist_runtime.cli.formatting import CSV_COLUMNS, print_answers
from fmnist_runtime.cli.infer import infer
from fmnist_runtime.console import run_argparse
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.prediction import Answer, Prediction, Top
from fmnist_runtime.streams import use_color

EXAMPLES = Path(__file__).parents[3] / "examples"
TOP = (Top("Bag", 8, 0.9), Top("Shirt", 6, 0.05))
ACCEPTED = Answer("a.png", Prediction("Bag", 8, 0.9, TOP))
REJECTED = Answer("b.png", Prediction(None, None, 0.2, TOP, True, "unlike"))


class Terminal(io.StringIO):
    """Stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def run(*arguments: object) -> int:
    return run_argparse(infer, args=[str(argument) for argument in arguments])


def test_csv_has_the_values_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / 'a "quoted", name.png'
    odd.write_bytes(b"no picture")
    assert run(EXAMPLES, odd, "--csv") == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert run(EXAMPLES, odd, "--json") == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(answers) and tuple(rows[0]) == CSV_COLUMNS
    for row, answer in zip(rows, answers, strict=True):
        expected = {**answer, "rejected": str(answer["rejected"]).lower()}
        assert row == {name: "" if expected.get(name) is None else str(expected[name]) for name in CSV_COLUMNS}
    assert rows[-1]["path"] == str(odd) and "not a picture" in rows[-1]["error"]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_csv_quotes_the_ends_of_lines_in_names(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_answers([Answer(f"a{end}.png", ACCEPTED.prediction)], form="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row["path"] for row in rows] == [f"a{end}.png"]


def test_csv_on_a_terminal_has_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer("\x1b]0;title\a.png", ACCEPTED.prediction)
    for stream, name in ((Terminal(), r"\x1b]0;title\x07.png"), (io.StringIO(), answer.path)):
        monkeypatch.setattr(sys, "stdout", stream)
        print_answers([answer], form="csv")
        (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
        assert row["path"] == name and row["label"] == "Bag"


def test_forms_and_messages_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for pair in (("--json", "--csv"), ("-q", "-v")):
        assert run("x.png", *pair) == 2
        assert "not allowed with" in capsys.readouterr().err


def test_quiet_and_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gone.png", "--json", "-q") == 1
    quiet = capsys.readouterr()
    assert "error" in json.loads(quiet.out) and quiet.err == ""
    assert run(EXAMPLES / "shirt.jpg", "gone.png", "--json", "--no-reject", "--verbose") == 1
    error, model, summary = capsys.readouterr().err.splitlines()
    assert "gone.png" in error and str(find_model()) in model
    assert summary.startswith("2 images") and "1 accepted, 0 rejected, 1 unreadable" in summary
    assert run(EXAMPLES / "shirt.jpg", "-v") == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("1 image in ")


def test_colors_only_on_a_terminal_and_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(stream: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stdout", stream)
        print_answers([ACCEPTED, REJECTED])
        return stream.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    colored, plain = printed(Terminal()), printed(io.StringIO())
    assert colored.splitlines()[0].startswith("\x1b[32mBag ") and colored.splitlines()[1].startswith("\x1b[33mI don't")
    assert colored.replace("\x1b[32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "") == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(Terminal()) == plain
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not use_color(Terminal())
