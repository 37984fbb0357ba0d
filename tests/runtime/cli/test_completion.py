"""Completion scripts."""

import os
import shutil
import subprocess

import pytest

from fmnist_runtime.cli.infer import infer
from fmnist_runtime.cli.parsers import BUILDERS, COMMANDS, SHELLS
from fmnist_runtime.console import run_argparse


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_argparse(infer, args=["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for word in (*COMMANDS, "fmnist-infer", "fmnist-serve", "fmnist-drift", "improved-lite"):
        assert word in text
    for name in ("top-k", "files-from", "token-file", "alpha"):
        assert (f"-l {name}" if shell == "fish" else f"--{name}") in text
    assert set(BUILDERS) == set(COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n"], input=script(shell, capsys), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fmnist-infer", "do"], {"doctor"}),
        (["fmnist-infer", "--ca"], {"--careful"}),
        (["fmnist-infer", "doctor", "--"], {"--help", "--version", "--json"}),
        (["fmnist-infer", "x.png", "--model", "na"], {"nano"}),
        (["fmnist-serve", "--host", "a", "--max-p"], {"--max-pixels"}),
        (["fmnist-drift", "--al"], {"--alpha"}),
    ],
)
def test_bash_completes(words: list[str], expected: set[str], capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    function = f"_{words[0].replace('-', '_')}"
    code = script("bash", capsys) + f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; {function}\n"
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert set(done.stdout.split()) == expected and done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_descriptions_are_those_of_the_help(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    assert "number of threads of one model call (default: 1) [env: FMNIST_THREADS]" in text
    assert """"I don'"'"'t know" for images unlike any garment""" in text


def test_fish_shows_them(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "script").write_text(script("fish", capsys))
    ask = f"source {tmp_path / 'script'}; complete -C 'fmnist-infer --no-re'"
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(["fish", "-c", ask], capture_output=True, text=True, cwd=tmp_path, env=home)
    assert done.stdout == '--no-reject\tanswer "I don\'t know" for images unlike any garment (default: yes)\n'
