"""Endings of the commands that use typer."""

import pytest
import typer

from fmnist_runtime.errors import ConfigError
from fmnist_train.console import run_typer


def test_typer_s_endings_have_the_same_codes(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def command(how: str) -> None:
        if how == "abort":
            raise typer.Abort
        if how == "exit":
            raise typer.Exit(4)
        if how == "refuse":
            raise ConfigError("no such thing")

    ends = {how: run_typer(app, args=[how]) for how in ("abort", "exit", "refuse", "work")}
    assert ends == {"abort": 130, "exit": 4, "refuse": 2, "work": 0}
    assert "interrupted\nerror: no such thing\n" in capsys.readouterr().err
    assert run_typer(app, args=["--unknown"]) == 2 and "unknown" in capsys.readouterr().err
