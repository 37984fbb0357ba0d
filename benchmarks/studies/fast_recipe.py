"""Accuracy and duration of the recipe `fast` against those of `simple`; the goal is its accuracy in a tenth of the time.

    python benchmarks/studies/fast_recipe.py [--seeds 1] [--data fashion-mnist] [--output FILE]

Trains `fast` to its end, as ``fmnist-train --recipe fast`` does, and one epoch of `simple` after each of its epochs. Each has
a process of its own, which waits while the other works. The duration of `simple` is 50 times the median of its epochs. The
epoch with the best validation accuracy is then tested, once. Writes ``benchmarks/results/fast_recipe.json`` (``--output -``
writes nothing). Exit code 3: too slow, or not accurate enough.
"""

import argparse
import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from interleaved import start_contestants

from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.sources import find_dataset, split_validation
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import wilson_interval
from fmnist_train.recipes import RECIPES
from fmnist_train.training.device import keep_freed_memory
from fmnist_train.training.loop import Training
from fmnist_train.training.run import SPLIT_SEED

RESULT = Path(__file__).parents[1] / "results" / "fast_recipe.json"
ACCURACY = 0.9164
"""Least test accuracy: the one that the authors of `simple` publish."""
SHARE = 0.1
"""Largest duration, as a share of that of `simple`."""


class Run:
    """A training that continues by one epoch at each call, and is tested after the last one."""

    def __init__(self, name: str, data: str, seed: int) -> None:
        keep_freed_memory()
        self.source, self.folder = find_dataset(data), tempfile.TemporaryDirectory()
        train, validation = split_validation(self.source.load("train"), RECIPES[name].validation, SPLIT_SEED)
        about = {"labels": list(self.source.labels), "dataset": self.source.name}
        device, folder = torch.device("cpu"), Path(self.folder.name)
        self.training = Training(RECIPES[name], train, validation, folder, seed=seed, device=device, description=about)

    def __call__(self) -> tuple[float, dict[str, Any] | None]:
        """Returns the seconds of the epoch and, after the last one, the test accuracy."""
        training, epochs = self.training, self.training.recipe.epochs
        # Stops after one epoch; the schedule was built for all of them.
        training.recipe = dataclasses.replace(training.recipe, epochs=len(training.history) + 1)
        training.run()
        training.recipe = dataclasses.replace(training.recipe, epochs=epochs)
        done = len(training.history) == epochs
        return training.history[-1].seconds, self._test() if done else None

    def _test(self) -> dict[str, Any]:
        checkpoint, test = load_checkpoint(Path(self.folder.name)), self.source.load("test")
        correct = int((predict_logits(checkpoint.model, test.images).argmax(1) == test.labels).sum())
        return {"accuracy": correct / len(test), "interval": list(wilson_interval(correct, len(test)))}


def compare(data: str, seed: int) -> dict[str, Any]:
    """Trains `fast` in full with that seed, interleaved with epochs of `simple`."""
    makers: dict[str, Callable[[], Run]] = {
        name: functools.partial(Run, name, data, seed) for name in ("fast", "simple")
    }
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    tested = None
    with start_contestants(makers) as running:
        for _ in range(RECIPES["fast"].epochs):
            for name, contestant in running.items():
                time, result = contestant.step()
                seconds[name].append(time)
                tested = result or tested
    simple = RECIPES["simple"].epochs * median(seconds["simple"])
    total = sum(seconds["fast"])
    return {"seed": seed, "test": tested, "seconds": total, "simple_seconds": simple, "share": total / simple} | {
        "epochs": seconds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        runs.append(compare(options.data, seed))
        found = runs[-1]
        print(
            f"seed {seed}: test accuracy {found['test']['accuracy']:.2%} (goal {ACCURACY:.2%}) in {found['seconds']:.1f} s, "
            f"{found['share']:.1%} of the {found['simple_seconds']:.0f} s of simple (goal {SHARE:.0%})"
        )
    goal = {"accuracy": ACCURACY, "share": SHARE}
    met = all(run["test"]["accuracy"] >= ACCURACY and run["share"] <= SHARE for run in runs)
    result = {"machine": describe_machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    result |= {"goal": goal, "met": met, "runs": runs}
    if str(options.output) != "-":
        write_atomically(options.output, json.dumps(result, indent=1) + "\n")
    sys.exit(0 if met else 3)


if __name__ == "__main__":
    main()
