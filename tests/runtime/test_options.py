"""Parsers of the commands, and their start-up."""

import os
import subprocess
import sys

import pytest

COMMANDS = {
    "fmnist-infer": "fmnist_runtime.cli.infer",
    "fmnist-serve": "fmnist_runtime.serve.cli",
    "fmnist-drift": "fmnist_runtime.drift.cli",
    "fmnist-bench": "fmnist_bench.cli",
}
HEAVY = {"numpy", "onnxruntime", "PIL", "json", "difflib", "glob", "csv", "importlib.metadata", "starlette", "ray"}


def run(module: str, *arguments: str, after: str = "") -> "subprocess.CompletedProcess[str]":
    code = f"import sys\nfrom {module} import main\ntry:\n    main()\nfinally:\n    {after or 'pass'}"
    # A measurement of coverage would import modules of its own.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=plain)


@pytest.mark.parametrize("command", COMMANDS)
def test_version_everywhere(command: str) -> None:
    import fmnist_runtime

    done = run(COMMANDS[command], "--version")
    assert done.returncode == 0 and done.stdout == f"{fmnist_runtime.__version__}\n"


@pytest.mark.parametrize("command", ["fmnist-infer", "fmnist-serve"])
def test_help_imports_nothing_heavy(command: str) -> None:
    done = run(COMMANDS[command], "--help", after="print(sorted(sys.modules), file=sys.stderr)")
    assert done.returncode == 0 and not HEAVY & set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert "[env: FMNIST_MODEL]" in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_are_one_line(command: str) -> None:
    done = run(COMMANDS[command], "--modl=x", *(["a", "b"] if command == "fmnist-drift" else []))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""
    assert command == "fmnist-drift" or "did you mean --model?" in done.stderr


@pytest.mark.parametrize("width", [60, 80, 300])
@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS)
def test_help_fits_the_terminal_and_breaks_no_name(module: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run(module, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    assert not [line for line in lines if line.endswith("-")]
    monkeypatch.setenv("COLUMNS", "100")
    assert set(" ".join(lines).split()) == set(run(module, "--help").stdout.split())
