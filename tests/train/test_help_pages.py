"""Help of the typer commands: no name is cut at any width, and panels follow the topics."""

import re

import pytest
import typer

from fmnist_export.cli import app as export_app
from fmnist_train.cli import app as train_app
from fmnist_train.console import run_typer

APPS = {"fmnist-train": train_app, "fmnist-export": export_app}
COMMANDS = [
    (program, name)
    for program, app in APPS.items()
    for name in (None, *(each.name or each.callback.__name__ for each in app.registered_commands))
]


def help_of(program: str, name: str | None, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_typer(APPS[program], args=[*([name] if name else []), "--help"]) == 0
    return capsys.readouterr().out


def spellings(program: str, name: str | None) -> set[str]:
    """Returns the long options of a command, without the earlier spellings that are hidden."""
    command = typer.main.get_command(APPS[program])
    command = command.commands[name] if name else command
    names = {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}
    return {each for each in names if each.startswith("--")} - {"--optimiser", "--quantise"}


@pytest.mark.parametrize("width", ["60", "80", "100"])
@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_no_name_is_cut(program, name, width: str, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = help_of(program, name, capsys)
    assert "…" not in text and max(map(len, text.splitlines())) <= int(width)
    assert spellings(program, name) <= set(re.findall(r"--[a-z][\w-]*", text))


def test_earlier_spellings_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--optimiser" not in help_of("fmnist-train", None, capsys)
    assert "--quantise" not in help_of("fmnist-export", "export", capsys)


def test_topics_come_before_general_options_and_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    titles = re.findall(r"^╭─ (.+?) ─", help_of("fmnist-train", None, capsys), re.MULTILINE)
    assert titles[:3] == ["Recipe", "Data", "Run"] and titles[-2:] == ["Options", "Commands"]
    titles = re.findall(r"^╭─ (.+?) ─", help_of("fmnist-export", "export", capsys), re.MULTILINE)
    assert titles[0] == "Arguments" and "Int8 model" in titles and titles[-1] == "Options"


def test_defaults_choices_and_ranges_are_shown(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = help_of("fmnist-export", "export", capsys)
    assert "--target <portable|vnni>" in text and "[default: portable]" in text
    assert "(from 0 to 1). [default: 0.985]" in text and "[default: export/ in the run]" in text


def test_color_is_for_terminals(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[36m--epochs" in help_of("fmnist-train", "tune", capsys)
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b" not in help_of("fmnist-train", "tune", capsys)
