"""Standard streams that are closed, broken or full: the work goes on, and the exit code is a documented one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PLAIN = """
from fmnist_runtime.console import run_argparse
def command(args):
    print("message", file=sys.stderr)
    Path("done").write_text("whole")
    print("answer")
sys.exit(run_argparse(command))
"""
TYPER = """
import typer
from rich.console import Console
from fmnist_train.console import run_typer
app = typer.Typer()
@app.command()
def command():
    Console(stderr=True).print("message")
    Path("done").write_text("whole")
    Console().print("answer")
sys.exit(run_typer(app, args=[]))
"""
COMMANDS = pytest.mark.parametrize("script", [PLAIN, TYPER], ids=["argparse", "typer"])
UNBUFFERED = pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def run(script: str, options: list[str], redirections: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script after redirections of a shell; descriptor 0 is a pipe without a reader."""
    code = f"import sys; sys.path[:] = {sys.path}\nfrom pathlib import Path\n{script}"
    command = [sys.executable, *options, "-c", code]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", *command],
            cwd=folder,
            env=variables,
            stdin=writer,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(writer)


@COMMANDS
@UNBUFFERED
@pytest.mark.parametrize(
    ("redirections", "answer", "message"),
    [
        ("2>&0", "answer\n", ""),
        (">&0", "", "message\n"),
        (">&0 2>&0", "", ""),
        ("2>&-", "answer\n", ""),
        (">&-", "", "message\n"),
        (">&- 2>&-", "", ""),
        ("<&- >&- 2>&-", "", ""),
        pytest.param("2>/dev/full", "answer\n", "", marks=FULL),
    ],
)
def test_work_goes_on_without_its_streams(
    script: str, options: list[str], redirections: str, answer: str, message: str, tmp_path: Path
) -> None:
    done = run(script, options, redirections, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, answer, message)
    assert (tmp_path / "done").read_text() == "whole"


@FULL
@COMMANDS
@UNBUFFERED
def test_a_full_disk_under_the_answers_is_one_line(script: str, options: list[str], tmp_path: Path) -> None:
    done = run(script, options, ">/dev/full", tmp_path)
    assert done.returncode == 1 and done.stderr == "message\nerror: No space left on device\n"


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """A library's message to standard output or standard error would be written into it."""
    script = """
import os
from fmnist_runtime.console import run_argparse
def command(args):
    with Path("weights").open("w") as file:
        os.write(1, b"noise")
        os.write(2, b"noise")
        file.write("weights")
sys.exit(run_argparse(command))
"""
    assert run(script, [], "<&- >&- 2>&-", tmp_path).returncode == 0
    assert (tmp_path / "weights").read_text() == "weights"


@pytest.mark.parametrize("module", ["fmnist_train", "fmnist_export"])
def test_help_into_a_closed_pipe_is_no_error(module: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run(
        f"import runpy; sys.argv = ['x', '--help']; runpy.run_module('{module}', run_name='__main__')",
        [],
        ">&0",
        tmp_path,
    )
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs non-blocking pipes")
def test_a_slow_reader_of_a_nonblocking_pipe_gets_every_answer() -> None:
    """Node.js and ssh leave such pipes to the programs that they start."""
    script = """
from fmnist_runtime.console import run_argparse
sys.exit(run_argparse(lambda args: print("x" * 1_000_000)))
"""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen([sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}\n{script}"], stdout=writer)
    os.close(writer)
    time.sleep(0.5)  # the pipe is full by then
    with os.fdopen(reader, "rb") as answers:
        assert len(answers.read()) == 1_000_001
    assert process.wait(10) == 0
