"""``kill -9`` in the middle of a run, and the same weights in the end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from fmnist_train.checkpoint import load_checkpoint


def command(folder: Path, *more: str) -> list[str]:
    fixed = ["--data", "sample", "--epochs", "3", "--threads", "2", "--quiet"]
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
