"""Endings of the commands that use typer."""

import os
import resource
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
import typer

from fmnist_runtime.errors import ConfigError
from fmnist_train.console import run_typer


class Plant(Enum):
    bush = "bush"
    herb = "herb"


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
        if how == "interrupt":
            raise KeyboardInterrupt

    ends = {how: run_typer(app, args=[how]) for how in ("abort", "exit", "refuse", "work")}
    assert ends == {"abort": 130, "exit": 4, "refuse": 2, "work": 0}
    assert "interrupted\nerror: no such thing\n" in capsys.readouterr().err
    assert run_typer(app, args=["interrupt"]) == 130 and capsys.readouterr().err.strip() == "interrupted"
    assert run_typer(app, args=["--unknown"]) == 2 and "unknown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--unknown"], "no such option: --unknown"),
        ([], "missing argument"),
        (["grow", "--size", "9"], "9 is not in the range"),
        (["grow", "--size"], "requires an argument"),
        (["grow", "--kind", "tree"], "is not one of 'bush', 'herb'"),
    ],
)
def test_a_usage_error_is_one_line_that_names_the_help(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def command(
        how: str,
        size: Annotated[int, typer.Option(max=3)] = 1,
        kind: Plant = Plant.bush,
    ) -> None:
        raise AssertionError

    assert run_typer(app, args=arguments) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1
    assert written.err.startswith("error: ") and part in written.err
    assert written.err.endswith("--help lists the options\n")


@pytest.mark.parametrize("command", ["fmnist_train", "fmnist_export"])
def test_a_library_that_aborts_under_a_limit_on_memory_is_one_line(command: str, tmp_path: Path) -> None:
    """As PyTorch does under some limits, which depend on its build: C++ ends the process while it is imported."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import os\nos.abort()\n")
    variables = os.environ | {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    def run(*arguments: str) -> tuple[int, str]:
        whole = [sys.executable, "-m", command, *arguments]
        done = subprocess.run(whole, capture_output=True, text=True, cwd=tmp_path, env=variables, preexec_fn=limit)
        return done.returncode, done.stderr

    assert run("--help") == (0, "")  # imports no PyTorch
    line = "error: out of memory: torch cannot be loaded within the limit of 'ulimit -v'; raise the limit\n"
    assert run("--data", "sample") == (1, line)


def test_the_plot_backend_of_a_notebook_stops_no_command(tmp_path: Path) -> None:
    """Jupyter sets the variable for `!fmnist-train` too, whose environment may lack the backend's package."""
    command = [sys.executable, "-m", "fmnist_train", "explore", "--data", "sample", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "MPLBACKEND": "module://backend_of_a_notebook"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and (tmp_path / "out" / "samples.png").is_file(), done.stderr


def test_a_terminal_without_columns_shows_the_whole_help() -> None:
    """Containers without a terminal set COLUMNS=0."""
    command = [sys.executable, "-m", "fmnist_train", "--help"]
    shown = [
        subprocess.run(
            command, env={**os.environ, "COLUMNS": columns}, capture_output=True, text=True, timeout=100
        ).stdout
        for columns in ("0", "80")
    ]
    assert "--recipe" in shown[0] and shown[0] == shown[1]
