"""A run that is interrupted, politely or not, loses nothing."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from fmnist_train.checkpoint import load_checkpoint

SIGNALS = signal.SIGINT, signal.SIGTERM


RECIPE = [
    "--recipe",
    "custom",
    "--channels",
    "8,16",
    "--hidden",
    "32",
    "--dropout",
    "0.1",
    "--rotation",
    "10",
    "--ema-decay",
    "0.9",
]
"""A network that takes a second for an epoch, with everything that a resumed run must draw, or remember, as a whole one."""


def command(folder: Path, *more: str) -> list[str]:
    fixed = [*RECIPE, "--data", "sample", "--epochs", "5", "--threads", "2", "--quiet"]
    return [sys.executable, "-m", "fmnist_train", *fixed, "--output", str(folder), *more]


def test_a_run_that_was_killed_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), check=True, capture_output=True)
    with subprocess.Popen(command(broken), stdout=subprocess.DEVNULL) as process:
        while not (broken / "last.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    again = subprocess.run(command(broken), capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr
    subprocess.run(command(broken, "--resume"), check=True, capture_output=True)
    expected, found = (load_checkpoint(folder).model.state_dict() for folder in (whole, broken))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert (broken / "metrics.json").is_file() and (broken / "training_curves.png").is_file()


def interrupted(
    folder: Path, *more: str, after: str, number: int = signal.SIGINT, python: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run the command, send the signal once ``after`` is on standard error, and let it end."""
    arguments = [part for part in command(folder, "--epochs", "500", *more) if part != "--quiet"]
    arguments[1:1] = python
    with subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    ) as process:
        seen = ""
        while after not in seen and (line := process.stderr.readline()):
            seen += line
        process.send_signal(number)
        rest, output = process.stderr.read(), process.stdout.read()  # communicate loses what readline read ahead
        process.wait()
    return subprocess.CompletedProcess(arguments, process.returncode, output, seen + rest)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_tests_and_saves_the_best_epoch_so_far(number: int, tmp_path: Path) -> None:
    done = interrupted(tmp_path, after="2/500", number=number)
    assert done.returncode == 0 and "--resume goes on" in done.stderr and "test accuracy" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = (tmp_path / "history.csv").read_text().splitlines()[1:]
    assert metrics["interrupted"] and 2 <= metrics["epochs_trained"] == len(rows) < 500
    best = max(
        range(len(rows)),
        key=lambda row: json.loads((tmp_path / "history.json").read_text())[row]["validation_accuracy"],
    )
    assert metrics["epoch"] == best + 1 == load_checkpoint(tmp_path).info["epoch"]
    assert "\x1b" not in done.stderr and "\r" not in done.stderr  # plain lines: this is no terminal
    again = subprocess.run(
        command(tmp_path, "--epochs", "500", "--resume", "--seed", "1"), capture_output=True, text=True
    )
    assert again.returncode == 2 and "another seed" in again.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_there_is_anything_to_save(number: int, tmp_path: Path) -> None:
    done = interrupted(tmp_path, after="epoch", number=number)
    assert done.returncode == 1 and "before the first epoch" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("typer", signal.SIGINT),
        ("torch", signal.SIGTERM),
        ("torch", signal.SIGINT),
        ("fmnist_train.training.run", signal.SIGTERM),
    ],
)
def test_a_signal_before_training_is_one_line(module: str, number: int, tmp_path: Path) -> None:
    """While libraries are imported, and while the data are read; -X importtime prints each finished import."""
    done = interrupted(tmp_path / "run", after=f" {module}\n", number=number, python=("-X", "importtime"))
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("import time:")]
    assert done.returncode == 130 and lines[-1] == "interrupted" and len(lines) <= 2, lines
    assert not (tmp_path / "run" / "last.safetensors").exists() and "Traceback" not in done.stderr
