"""Parsers of the commands, and their start-up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_runtime.cli.parsers import BUILDERS
from fmnist_runtime.cli.parsers import build_parser as build_infer_parser
from fmnist_runtime.drift.cli import build_parser as build_drift_parser

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


def test_names_after_two_hyphens_are_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["-a.png", "--json", "-", "b.png", "--"]
    chosen = build_infer_parser().parse_arguments(["first.png", "--csv", "--", *names])
    assert chosen.photos == ["first.png", *names] and chosen.csv and not chosen.json
    chosen = build_drift_parser().parse_arguments(["--json", "--", "-old", "-new"])
    assert (chosen.reference, chosen.today) == (Path("-old"), Path("-new"))
    with pytest.raises(SystemExit):
        BUILDERS["completion"]().parse_arguments(["--", "--fish"])
    assert "invalid choice: '--fish'" in capsys.readouterr().err


EMPTY_PATHS = {
    "fmnist-infer": [
        ("web", ""),
        ("ray", "x", ""),
        ("ray", "", "x"),
        ("--show=", "x"),
        ("--watch", ""),
        ("--files-from", ""),
        ("--model=", "x"),
    ],
    "fmnist-serve": [("--token-file=",), ("--model=",)],
    "fmnist-drift": [("", "x"), ("x", ""), ("x", "x", "--picture", ""), ("x", "x", "--since=")],
    "fmnist-bench": [("--picture=",), ("--float=",), ("--checkpoint", ""), ("compare", "", "x")],
}


@pytest.mark.parametrize(
    ("command", "arguments"), [(command, each) for command, cases in EMPTY_PATHS.items() for each in cases]
)
def test_an_empty_path_is_refused_and_writes_nothing(
    command: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(COMMANDS[command], *arguments)
    assert done.returncode in (1, 2) and done.stdout == "" and done.stderr.count("\n") == 1
    assert "is empty; name a" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--watch", "--files-from"])
def test_an_option_that_would_lose_its_first_value_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        build_infer_parser().parse_arguments([option, "a", option, "b"])
    assert end.value.code == 2 and f"{option} is given twice" in capsys.readouterr().err


def test_a_tilde_after_an_equals_sign_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell expands it only where it begins a word."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    chosen = build_infer_parser().parse_arguments(["--show=~/show", "--watch=~/in", "--files-from=~/list"])
    assert (chosen.show, chosen.watch) == (tmp_path / "show", tmp_path / "in")
    assert chosen.files_from == str(tmp_path / "list")
    assert build_infer_parser().parse_arguments(["--files-from", "-"]).files_from == "-"
