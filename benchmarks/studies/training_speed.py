"""Duration of an epoch of the recipe `improved-published`: our loop against a plain one, in one run.

    python benchmarks/studies/training_speed.py [--batches 20] [--rounds 15] [--memory] [--accuracy EPOCHS] [--output FILE]

The plain loop is that of a tutorial: a Dataset with PIL images, torchvision's transforms one image at a time, a DataLoader
with two workers, float32, the default memory layout. Network, optimizer, batch size and augmentation are the same. Each loop
has a process of its own, and they alternate after ``--batches`` batches; the ratio is the median over the rounds.
``--memory`` adds our loop without ``keep_freed_memory``. ``--accuracy`` then trains both for EPOCHS epochs on the training
images and compares them on the validation images; the test set is not read. Writes
``benchmarks/results/training_speed.json`` (``--output -`` writes nothing).
"""

import argparse
import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from interleaved import start_contestants
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_train.data.sources import Split, find_dataset, split_validation
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import wilson_interval
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES, Recipe
from fmnist_train.training.device import keep_freed_memory
from fmnist_train.training.loop import Training
from fmnist_train.training.run import SPLIT_SEED

RESULT = Path(__file__).parents[1] / "results" / "training_speed.json"
WORKERS = 2
"""DataLoader workers of the plain loop: one for each core of the machine of the published figures."""
RECIPE = dataclasses.replace(RECIPES["improved-published"], patience=0, scheduler="none")
GOAL = 2.5
"""Least ratio of the plain loop's duration to ours."""


class AugmentedImages(Dataset[tuple[torch.Tensor, int]]):
    """PIL images, transformed one at a time, as float32 pixels of 0 to 255, which our networks take."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        a = recipe.augmentation
        affine = transforms.RandomAffine(a.rotation, (a.translation, a.translation), a.scale)
        self.split, self.transform = split, transforms.Compose([affine, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return 255 * self.transform(Image.fromarray(self.split.images[index])), int(self.split.labels[index])


class PlainLoop:
    """A training loop as in tutorials."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.loader = DataLoader(
            AugmentedImages(split, recipe),
            recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            persistent_workers=True,  # a real epoch starts them once, so a short one must not include it
        )
        self.model = build_model(recipe.model)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.criterion = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        """Trains one epoch and returns its seconds."""
        start = time.perf_counter()
        self.model.train()
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            loss.item()
        return time.perf_counter() - start


class OurLoop:
    """The loop of ``fmnist-train``."""

    def __init__(self, split: Split, recipe: Recipe, *, memory: bool = True) -> None:
        if memory:
            keep_freed_memory()
        self.folder = tempfile.TemporaryDirectory()
        about = {"labels": [str(n) for n in range(10)], "dataset": "benchmark"}
        nothing, device = split.take(np.arange(0)), torch.device("cpu")
        self.training = Training(recipe, split, nothing, Path(self.folder.name), device=device, description=about)
        self.model = self.training.model

    def epoch(self) -> float:
        """Trains one epoch and returns its seconds, without saving, which a real epoch does once."""
        self.training.recipe = dataclasses.replace(self.training.recipe, epochs=len(self.training.history) + 1)
        self.training.run()
        return self.training.history[-1].seconds


LOOPS: dict[str, Callable[[Split, Recipe], PlainLoop | OurLoop]] = {
    "plain": PlainLoop,
    "ours": OurLoop,
    "ours, freed memory given back": functools.partial(OurLoop, memory=False),
}


def splits(data: str) -> tuple[Split, Split]:
    """Returns training and validation images."""
    return split_validation(find_dataset(data).load("train"), RECIPE.validation, SPLIT_SEED)


def short_epochs(name: str, data: str, batches: int) -> Callable[[], tuple[float, float]]:
    """Returns a step: an epoch over that many batches, with its seconds and its seconds of processor time."""
    train, _ = splits(data)
    count = min(batches * RECIPE.batch_size, len(train))
    loop = LOOPS[name](train.take(np.arange(count)), dataclasses.replace(RECIPE, validation=0))

    def step() -> tuple[float, float]:
        start = time.process_time()
        return loop.epoch(), time.process_time() - start

    return step


def measure(names: list[str], data: str, batches: int, rounds: int) -> dict[str, Any]:
    """Measures all contestants.

    Returns:
        By name: ``seconds`` and ``processor_seconds`` of each step; ``ratio`` of its duration to that of ``ours``, with
        ``quartiles``; and ``processor_ratio``.
    """
    makers = {name: functools.partial(short_epochs, name, data, batches) for name in names}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with start_contestants(makers) as running:
        for number in range(-1, rounds):  # the first round warms up
            for name, contestant in running.items():
                result = contestant.step()
                if number >= 0:
                    times[name].append(result)
    ours = times["ours"]
    found = {}
    for name, values in times.items():
        ratios = [value[0] / own[0] for value, own in zip(values, ours, strict=True)]
        found[name] = {
            "seconds": [round(wall, 4) for wall, _ in values],
            "processor_seconds": [round(cpu, 4) for _, cpu in values],
            "ratio": median(ratios),
            "quartiles": [quantiles(ratios, n=4)[i] for i in (0, 2)] if rounds > 1 else None,
            "processor_ratio": median(value[1] / own[1] for value, own in zip(values, ours, strict=True)),
        }
    return found


def compare_accuracy(data: str, epochs: int) -> dict[str, Any]:
    """Trains both loops for that many epochs; returns their validation accuracies with 95% intervals."""
    train, validation = splits(data)
    found = {}
    for name in ("plain", "ours"):
        torch.manual_seed(0)
        loop = LOOPS[name](train, dataclasses.replace(RECIPE, validation=0))
        seconds = sum(loop.epoch() for _ in range(epochs))
        correct = int((predict_logits(loop.model, validation.images).argmax(1) == validation.labels).sum())
        interval = wilson_interval(correct, len(validation))
        found[name] = {"accuracy": correct / len(validation), "interval": list(interval), "seconds": seconds}
    return {"epochs": epochs, "images": len(validation), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--accuracy", type=int, metavar="EPOCHS", default=0)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    names = list(LOOPS)[: 3 if options.memory else 2]
    found = measure(names, options.data, options.batches, options.rounds)
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    result |= {"goal": GOAL, "batches": options.batches, "loops": found}
    for name, about in found.items():
        print(f"{name}: {1e3 * median(about['seconds']) / options.batches:.1f} ms a batch, {about['ratio']:.2f} × ours")
    if options.accuracy:
        result["accuracy"] = compare_accuracy(options.data, options.accuracy)
        for name in ("plain", "ours"):
            print(f"{name}: validation accuracy {result['accuracy'][name]['accuracy']:.2%}")
    if str(options.output) != "-":
        write_atomically(options.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
