"""Recipes side by side: one row for each, over its seeds, with what its author claims beside what was measured."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from fmnist_runtime.errors import ConfigError
from fmnist_train.checkpoint import Checkpoint, load_checkpoint
from fmnist_train.comparison_table import write_picture, write_table
from fmnist_train.data import DataSource, Split, find_dataset
from fmnist_train.files import write_atomically
from fmnist_train.metrics import softmax, wilson_interval
from fmnist_train.models import count_macs, count_parameters
from fmnist_train.predictor import open_predictor
from fmnist_train.progress import Progress
from fmnist_train.recipes import CLAIMS, get_recipe
from fmnist_train.run import RunOptions, train

__all__ = ["PUBLISHED", "Comparison", "compare"]

PUBLISHED = ("improved", "batchnorm", "fashion", "feedforward", "hybrid", "simple", "custom")
_CALLS = 300


@dataclass(frozen=True)
class Comparison:
    """What to compare."""

    names: tuple[str, ...] = ()
    """Recipes; empty for the published ones."""
    data: str = "fashion-mnist"
    data_dir: Path | None = None
    runs: Path = Path("runs")
    output: Path = Path("runs/comparison")
    seeds: int = 1
    epochs: int | None = None
    ensembles: tuple[tuple[Path, ...], ...] = ()
    """Groups of runs whose probabilities are averaged; a row each."""
    reuse_only: bool = False
    """Train nothing: a recipe without a finished run has no row."""


def compare(settings: Comparison) -> list[dict[str, Any]]:
    """Train what is missing, and write ``comparison.md``, ``comparison.json`` and ``comparison.png``.

    Returns:
        The content of ``comparison.json``, a mapping each row: ``name``, ``runs``, ``accuracy`` (mean over the seeds),
        ``accuracy_std`` (None of one seed), ``interval`` (95%, of the images; None of several seeds), ``parameters``,
        ``macs``, ``float_bytes``, ``int8_bytes``, ``int8_accuracy``, ``latency_us`` (median, one image, one thread, of the
        int8 file if the run is exported), ``training_seconds``, ``claim``. None where there is no such figure.

    Raises:
        ConfigError: an unknown name, or nothing to compare.
    """
    recipes = [get_recipe(name, epochs=settings.epochs) for name in settings.names or PUBLISHED]
    source = find_dataset(settings.data, settings.data_dir)
    folders: dict[str, list[Path]] = {}
    for recipe in recipes:
        for seed in range(settings.seeds):
            options = RunOptions(settings.data, settings.data_dir, seed=seed)
            folder = settings.runs / options.folder(recipe).name
            options = RunOptions(
                settings.data, settings.data_dir, folder, seed, resume=(folder / "last.safetensors").exists()
            )
            if not (folder / "metrics.json").exists() and not settings.reuse_only:
                train(recipe, options, Progress())
            if (folder / "metrics.json").exists():
                folders.setdefault(recipe.name, []).append(folder)
    rows = [_row(name, runs, source) for name, runs in folders.items()]
    test = source.load("test") if settings.ensembles else None
    rows += [_ensemble(group, source, test) for group in settings.ensembles if test is not None]
    if not rows:
        raise ConfigError(f"no finished run under '{settings.runs}'; train one, or leave out --reuse-only")
    write_atomically(settings.output / "comparison.json", json.dumps(rows, indent=2) + "\n")
    write_table(rows, settings.output / "comparison.md")
    write_picture(rows, settings.output / "comparison.png")
    return rows


def _row(name: str, runs: list[Path], source: DataSource) -> dict[str, Any]:
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    for run, figures in zip(runs, metrics, strict=True):
        if figures["dataset"] != source.name:
            raise ConfigError(f"{run} was trained on {figures['dataset']}, not {source.name}; give another --runs")
    accuracies = [figures["test"]["accuracy"] for figures in metrics]
    checkpoint = load_checkpoint(runs[0])
    return {
        "name": name,
        "runs": [str(run) for run in runs],
        "accuracy": mean(accuracies),
        "accuracy_std": stdev(accuracies) if len(runs) > 1 else None,
        "interval": metrics[0]["test"]["accuracy_interval"] if len(runs) == 1 else None,
        **_size(checkpoint),
        **_exported(runs[0], checkpoint),
        "training_seconds": mean(figures["training_seconds"] for figures in metrics),
        "claim": CLAIMS.get(name),
    }


def _size(checkpoint: Checkpoint) -> dict[str, int]:
    return {"parameters": count_parameters(checkpoint.model), "macs": count_macs(checkpoint.model)}


def _exported(run: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the run's export says, if there is one and it came from this very checkpoint."""
    folder, found = run / "export", dict.fromkeys(("float_bytes", "int8_bytes", "int8_accuracy", "latency_us"))
    path = folder / "parity.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    if report.get("checkpoint_sha256") != checkpoint.sha256:
        return found
    for precision, file in (("float", "model.onnx"), ("int8", "model.int8.onnx")):
        if (folder / file).exists():
            found[f"{precision}_bytes"] = (folder / file).stat().st_size
            found["latency_us"] = _latency(folder / file)
    found["int8_accuracy"] = report["accuracy"].get("int8", {}).get("accuracy")
    return found


def _latency(path: Path) -> float:
    """Median microseconds of one image on one thread, through the runtime."""
    model, image = open_predictor(path), np.zeros((1, 28, 28), np.uint8)
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        model.logits(image)
        times.append(time.perf_counter() - start)
    return 1e6 * median(times[_CALLS // 10 :])


def _ensemble(runs: tuple[Path, ...], source: DataSource, test: Split) -> dict[str, Any]:
    """The average of the probabilities of several checkpoints: costs what they cost together."""
    checkpoints = [load_checkpoint(run) for run in runs]
    models = [open_predictor(run) for run in runs]
    for run, model in zip(runs, models, strict=True):
        if model.labels != source.labels:
            raise ConfigError(f"{run} knows other classes than {source.name} has")
    answers = np.mean([softmax(model.logits(test.images), model.temperature) for model in models], axis=0)
    right = int((answers.argmax(axis=1) == test.labels).sum())
    metrics = [run / "metrics.json" for run in runs]
    seconds = [json.loads(path.read_text())["training_seconds"] for path in metrics if path.exists()]
    sizes = [_size(checkpoint) for checkpoint in checkpoints]
    return {
        "name": "mean of " + ", ".join(re.sub(r"-seed(\d+)$", r" \1", run.name) for run in runs),
        "runs": [str(run) for run in runs],
        "accuracy": right / len(test),
        "accuracy_std": None,
        "interval": list(wilson_interval(right, len(test))),
        **{key: sum(size[key] for size in sizes) for key in sizes[0]},
        **dict.fromkeys(("float_bytes", "int8_bytes", "int8_accuracy", "latency_us")),
        "training_seconds": sum(seconds) if len(seconds) == len(runs) else None,
        "claim": None,
    }
