"""The page of the commands agrees with ``--help`` and with real output; ``test_tables`` compares its generated sections."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_runtime.cli.formatting import CSV_COLUMNS
from fmnist_runtime.cli.parsers import BUILDERS

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema checks the schema of a line")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")
SCHEMA = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
MODULES = {
    "fmnist-infer": "fmnist_runtime.cli.infer",
    "fmnist-serve": "fmnist_runtime.serve.cli",
    "fmnist-drift": "fmnist_runtime.drift.cli",
    "fmnist-bench": "fmnist_bench.cli",
}
NAMES = [*MODULES, *(f"fmnist-infer {name}" for name in BUILDERS)]


def run(command: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    name, *words = command.split()
    code = f"from {MODULES[name]} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize("command", NAMES)
def test_each_option_of_help_is_on_the_page_and_no_other(command: str) -> None:
    section = re.search(rf"^### {command}\n(.*?)(?=^### |<!-- end)", PAGE, re.MULTILINE | re.DOTALL)[1]
    option = r"(?<![\w/-])--?[a-z][\w-]*"
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(option, row)
    }
    usage = run(command, "--help").stdout.partition("options:")[2]
    shown = {
        name for line in re.findall(r"^  (-.*?)(?:  |$)", usage, re.MULTILINE) for name in re.findall(option, line)
    }
    assert documented == shown - {"-h", "--help"} and "--version" in documented


def test_real_lines_follow_the_schema(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = run("fmnist-infer", "examples", tmp_path / "bad.png", "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 10 and any(a["rejected"] for a in answers) and "error" in answers[-1]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for answer in answers:
        validator.validate(answer)
        assert set(answer) <= set(SCHEMA["$defs"]["Answer"]["properties"])
    assert not validator.is_valid({**answers[0], "probability": "high"})


def test_the_columns_and_exit_codes_are_the_real_ones() -> None:
    assert f"`{','.join(CSV_COLUMNS)}`" in PAGE
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    ends = [run("fmnist-infer", *arguments).returncode for arguments in (["--help"], ["gone.png"], ["--unknown"])]
    assert ends == [0, 1, 2] and codes == {0, 1, 2, 3, 130}


def test_each_environment_variable_is_on_the_page() -> None:
    shown = {
        name
        for command in NAMES
        for name in re.findall(r"\[env: (\w+)\]", " ".join(run(command, "--help").stdout.split()))
    }
    table = PAGE.partition("## Environment")[2].partition("## Completion")[0]
    assert shown == set(re.findall(r"`(FMNIST_\w+)`", table))
