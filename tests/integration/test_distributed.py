"""Two processes of ``torchrun`` learn what one process does at the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

RECIPE = (
    "--recipe custom --channels 8 --hidden 16 --dropout 0 --no-batch-norm --data sample --epochs 2 --batch-size 100"
)
OPTIONS = [*RECIPE.split(), "--optimiser", "sgd", "--lr", "0.05", "--no-mixed-precision", "--threads", "1", "--quiet"]


def history(folder: Path, *launcher: str) -> list[dict]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, "fmnist_train", *OPTIONS, "--output", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
    return json.loads((folder / "history.json").read_text())


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Without dropout, augmentation and batch norm both compute the same mean gradient, to rounding."""
    alone = history(tmp_path / "one")
    together = history(tmp_path / "two", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    assert len(alone) == len(together) == 2
    for one, two in zip(alone, together, strict=True):
        assert abs(one["train_loss"] - two["train_loss"]) < 1e-3
        assert abs(one["validation_loss"] - two["validation_loss"]) < 1e-3
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["epochs_trained"] == 2
