"""The benchmark: its statistics, its verdicts, and that a wrong or missing contestant is shown as what it is."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmnist_bench.cli import bench as bench_command
from fmnist_bench.files import find_files
from fmnist_runtime.cli.parsers import SHELLS
from fmnist_runtime.console import run_argparse
from fmnist_runtime.errors import ConfigError

ROOT = Path(__file__).parents[2]
RIVALS = """
import os, time
from pathlib import Path
import numpy as np
class Wrong:
    packages = ("numpy",)
    def convert(self, files, folder): return Path(files.int8)
    def load(self, model, threads): return lambda pixels: np.eye(10, dtype=np.float32)[np.zeros(len(pixels), int)]
WRONG = Wrong()
class Absent(Wrong):
    def load(self, model, threads): import a_runtime_that_is_not_installed
ABSENT = Absent()
class Once(Wrong):
    def load(self, model, threads):
        Path(__file__).with_name("started").mkdir()
        return super().load(model, threads)
ONCE = Once()
class Tired(Wrong):
    def load(self, model, threads):
        calls = iter(range(300))
        answer = super().load(model, threads)
        return lambda pixels: os._exit(3) if next(calls, None) is None else answer(pixels)
TIRED = Tired()
class Talking(Wrong):
    def load(self, model, threads):
        print(0, flush=True)
        return super().load(model, threads)
TALKING = Talking()
class Brief(Wrong):
    def load(self, model, threads):
        answer = super().load(model, threads)
        return lambda pixels: answer(pixels)[:1]
BRIEF = Brief()
class Endless(Wrong):
    def convert(self, files, folder):
        Path(__file__).with_name("converting").touch()
        time.sleep(1000)
ENDLESS = Endless()
"""


def bench(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    code = "from fmnist_bench.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


def test_the_command_shows_wrong_and_missing_contestants(tmp_path: Path) -> None:
    (tmp_path / "rivals.py").write_text(RIVALS)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    names = ("wrong", "absent", "once", "tired", "talking", "brief")
    own = [a for name in names for a in ("--contestant", f"a/{name}=rivals:{name.upper()}")]
    only = [a for name in ("int8", "eager", *names) for a in ("--only", name)]
    done = bench("--quick", "--json", *own, *only, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    results = document["results"]
    assert results["a/wrong"]["wrong"] and not results["onnxruntime int8"]["wrong"]
    assert "a_runtime_that_is_not_installed" in results["a/absent"]["missing"]
    assert "FileExistsError" in results["a/once"]["missing"]
    assert results["a/tired"] == {"missing": "its process ended with code 3"}
    assert results["a/talking"]["wrong"]  # its own line is no reply
    assert " answers to " in results["a/brief"]["missing"]
    assert results["onnxruntime int8"]["ratio"]["ratio"] == 1 and results["onnxruntime int8"]["peak_rss"] > 1e7
    assert results["onnxruntime int8"]["installed"]["onnxruntime"] > 1e6
    (tmp_path / "run.json").write_text(done.stdout)
    same = bench("compare", tmp_path / "run.json", tmp_path / "run.json")
    assert same.returncode == 0 and "no change" in same.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "abacus"], 2, "no contestant"),
        (["--contestant", "x"], 2, "NAME=MODULE:OBJECT"),
        (["compare", "pyproject.toml", "pyproject.toml"], 1, "not readable as a run"),
        (["compare", "artifacts/improved/parity.json", "x"], 1, "not a run"),
        (["--json", "compare", "x", "y"], 2, "--json before compare: write fmnist-bench compare first"),
        (["compare", "x", "x", "--tolerance", "nan"], 2, "'nan' is not a number from 0 to 100"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_script_has_every_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_argparse(bench_command, args=["completion", shell]) == 0
    text = capsys.readouterr().out
    for name in ("contestant", "quick", "tolerance"):
        assert (f"-l {name}" if shell == "fish" else f"--{name}") in text
    assert "compare" in text and "completion" in text
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""


def test_an_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_argparse(bench_command, args=["completion", "tcl"]) == 2
    assert "tcl" in capsys.readouterr().err


NANO, MICRO = ROOT / "artifacts" / "nano", ROOT / "artifacts" / "micro"


def test_the_float_model_and_the_checkpoint_are_those_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export = Path("run/export")
    export.mkdir(parents=True)
    for source, target in (("model.int8.onnx", export), ("model.onnx", export), ("best.safetensors", export.parent)):
        shutil.copy(NANO / source, target)
    found = find_files("run/export")
    assert (Path(found.float32).resolve(), Path(found.checkpoint).resolve()) == (
        (export / "model.onnx").resolve(),
        Path("run/best.safetensors").resolve(),
    )
    shutil.copy(MICRO / "model.onnx", export)
    shutil.copy(MICRO / "best.safetensors", "run")
    found = find_files("run/export")
    for name, option in (("float32", "--float"), ("checkpoint", "--checkpoint")):
        with pytest.raises(ConfigError, match=f"was found; name it with {option}"):
            getattr(found, name)
    (export / "model.onnx").write_bytes(b"of another program")
    assert find_files("run/export").float_model is None
    named = find_files("run/export", str(NANO / "model.onnx"), str(NANO))
    assert (named.float32, named.checkpoint) == (str(NANO / "model.onnx"), str(NANO))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--float", MICRO / "model.onnx", "not of the same weights as"),
        ("--checkpoint", MICRO, "not of the same weights as"),
        ("--checkpoint", MICRO / "best.json", "not of the same weights as"),
        ("--checkpoint", "nowhere", "no checkpoint here; name a run folder"),
    ],
)
def test_files_of_other_weights_are_refused(
    option: str, value: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_argparse(bench_command, args=["--quick", "--model", str(NANO), option, str(value)]) == 2
    assert f"{option} {value}: {message}" in capsys.readouterr().err


def test_a_signal_ends_a_contestant_that_converts(tmp_path: Path) -> None:
    """As ``timeout`` and ``docker stop`` send it: to the command alone."""
    (tmp_path / "rivals.py").write_text(RIVALS)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    code = "from fmnist_bench.cli import main; main()"
    command = [sys.executable, "-c", code, "--quick", "--contestant", "a/endless=rivals:ENDLESS", "--only", "endless"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        while not (tmp_path / "converting").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.terminate()
        assert process.communicate(timeout=60)[1].endswith("interrupted\n") and process.returncode == 130


def test_a_contestant_without_its_file_names_the_option(tmp_path: Path) -> None:
    shutil.copy(NANO / "model.int8.onnx", tmp_path / "mine.onnx")
    done = bench("--quick", "--json", "--model", tmp_path / "mine.onnx", "--only", "float", "--only", "eager")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    for name, option in (("onnxruntime float", "--float"), ("PyTorch eager", "--checkpoint")):
        assert results[name]["missing"].endswith(f"of the same weights was found; name it with {option}")
