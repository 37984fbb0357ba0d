"""Comparison of recipes: one row for each recipe, with figures over its seeds and the accuracy that its author claims."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from fmnist_runtime.errors import MALFORMED, CheckpointError, ConfigError
from fmnist_runtime.files import make_folder, write_atomically
from fmnist_train.checkpoint import (
    Checkpoint,
    is_finished,
    is_share,
    load_checkpoint,
    read_data_sha256,
    read_metrics,
)
from fmnist_train.comparison.files import covers, earlier_rows, keep_evidence, measure_latency, refuse_foreign_copy
from fmnist_train.comparison.table import SECTION, write_plot, write_readme, write_table
from fmnist_train.data.seen import report_seen
from fmnist_train.data.sources import PUBLISHED as PUBLISHED_DATA
from fmnist_train.data.sources import DataSource, Split, find_dataset, split_validation
from fmnist_train.data.splits import arrays_sha256, splits_sha256
from fmnist_train.evaluation.metrics import softmax, wilson_interval
from fmnist_train.evaluation.predictor import open_predictor
from fmnist_train.files import read_object, refuse_replacing, split_at_section
from fmnist_train.models import count_macs, count_parameters
from fmnist_train.recipes import CLAIMS, Recipe, current_name, get_recipe, recipe_from_dict
from fmnist_train.training.progress import Progress
from fmnist_train.training.run import SPLIT_SEED, RunOptions, fit_batch_size, train

__all__ = ["PUBLISHED", "Comparison", "compare_recipes"]

PUBLISHED = ("improved-published", "batchnorm", "fashion", "feedforward", "hybrid", "simple", "custom")
"""Recipes that are compared by default."""


_MOST_BYTES = 1 << 40
"""Bound of a model file's stated size: JSON may hold integers larger than any float."""


@dataclass(frozen=True)
class Comparison:
    """Settings of a comparison."""

    names: tuple[str, ...] = ()
    """Recipes; empty for the published ones."""
    data: str = "fashion-mnist"
    """Name or folder of the data set."""
    data_dir: Path | None = None
    """Folder with the files of Fashion-MNIST; None searches the usual places."""
    runs: Path = Path("runs")
    """Folder of the runs."""
    output: Path = Path("runs/comparison")
    """Folder of the tables."""
    seeds: int = 1
    """Runs of each recipe, with seeds from 0."""
    epochs: int | None = None
    """Largest number of epochs; None keeps the recipes' own."""
    ensembles: tuple[tuple[Path, ...], ...] = ()
    """Groups of runs. Each group gives one row, for the mean of its probabilities."""
    reuse_only: bool = False
    """Whether nothing is trained. Recipes without a finished run keep their earlier rows, as do ensembles if none is named."""
    readme: Path | None = None
    """Markdown file in which the table replaces the section ``comparison``."""


def compare_recipes(settings: Comparison) -> list[dict[str, Any]]:
    """Trains the missing runs, and writes ``comparison.md``, ``comparison.json`` and ``comparison.png``.

    The figures and the int8 file of every run are copied to the output folder. Latencies are measured on these files. With
    ``reuse_only``, rows without runs keep their figures, and their latency is measured again.

    Returns:
        The content of ``comparison.json``, one mapping per row: ``name``, ``dataset``, ``runs``, ``accuracy`` (mean over the
        seeds), ``accuracy_std`` (None for one seed), ``interval`` (95%, of the images; None for several seeds),
        ``parameters``, ``macs``, ``float_bytes``, ``int8_bytes``, ``int8_accuracy`` (mean over the seeds, if all are
        exported), ``latency_us`` (median, one image, one thread, of the first run's int8 file), ``latency_measured`` (day
        and processor), ``training_seconds`` (median over the seeds), ``claim``. Missing figures are None.

    Raises:
        ConfigError: A recipe is unknown, there is nothing to compare, ``readme`` lacks the markers, or ``output`` has runs,
            files of others, or a comparison on another data set.
    """
    recipes = [get_recipe(name, epochs=settings.epochs) for name in settings.names or PUBLISHED]
    source = find_dataset(settings.data, settings.data_dir)
    source = dataclasses.replace(source, reader=functools.cache(source.reader))  # each run is compared with the images
    if settings.readme is not None:
        split_at_section(settings.readme, *SECTION)  # before hours of training
    if not (settings.output / "comparison.json").is_file():  # another one is refused when its rows are read
        refuse_replacing(settings.output, ("comparison.md", "comparison.png"))
    for recipe in recipes:
        for options in _options(settings):
            refuse_foreign_copy(settings.output / options.folder(recipe).name)
    make_folder(settings.output)
    rows = _make_rows(recipes, source, settings)
    measure_latency(rows, settings.output)
    write_atomically(settings.output / "comparison.json", json.dumps(rows, indent=2) + "\n")
    write_table(rows, settings.output / "comparison.md")
    write_plot(rows, settings.output / "comparison.png")
    if settings.readme is not None:
        write_readme(rows, settings.readme)
    return rows


def _make_rows(recipes: Sequence[Recipe], source: DataSource, settings: Comparison) -> list[dict[str, Any]]:
    """Returns a row for each recipe with finished or earlier runs, and for each ensemble."""
    earlier = earlier_rows(settings.output, source.name)
    rows = []
    for recipe in recipes:
        runs, row = _finished_runs(recipe, source, settings), earlier.get(recipe.name)
        if row is not None and covers(runs, row, settings.output):
            if not _has_other_test_images([settings.output / Path(run).name for run in row["runs"]], source):
                rows.append(row)
        elif runs:
            rows.append(_row(recipe.name, runs, source, settings.output))
    test = source.load("test") if settings.ensembles else None
    rows += [_ensemble(group, source, test) for group in settings.ensembles if test is not None]
    if settings.reuse_only and not settings.ensembles:
        rows += [row for row in earlier.values() if row["name"].startswith("mean of")]
    if not rows:
        raise CheckpointError(f"no finished run under '{settings.runs}'; train one, or leave out --reuse-only")
    return rows


def _options(settings: Comparison) -> list[RunOptions]:
    """Returns the options of the runs of each recipe."""
    return [RunOptions(settings.data, settings.data_dir, seed=seed) for seed in range(settings.seeds)]


def _finished_runs(recipe: Recipe, source: DataSource, settings: Comparison) -> list[Path]:
    """Trains the missing runs of a recipe; returns the folders of its finished runs, one for each seed."""
    folders = []
    for options in _options(settings):
        folder = settings.runs / options.folder(recipe).name
        resume = (folder / "last.safetensors").exists()
        if not is_finished(folder) and not settings.reuse_only:
            missing = dataclasses.replace(options, output=folder, resume=resume)
            if (train(recipe, missing, Progress()) or {}).get("interrupted"):
                raise KeyboardInterrupt
        if is_finished(folder) and _is_of(recipe, folder, source, settings):
            folders.append(folder)
    return folders


def _is_of(recipe: Recipe, run: Path, source: DataSource, settings: Comparison) -> bool:
    """Returns whether a finished run was trained on this data set with this recipe, in batches that fit the data set.

    Raises:
        ConfigError: It was trained or tested on other images, or trained with another recipe, and ``reuse_only`` is not set.
    """
    difference = _difference(recipe, run, source)
    if difference and not settings.reuse_only:
        raise ConfigError(f"{run} was {difference}: give another --runs")
    return not difference


def _difference(recipe: Recipe, run: Path, source: DataSource) -> str:
    """Returns what a finished run has of other images, or of another recipe; empty for the same."""
    metrics = read_metrics(run)
    stored = recipe_from_dict(metrics["recipe"])
    if metrics["dataset"] != source.name:
        return f"trained on {metrics['dataset']}, not on {source.name}"
    if _has_other_images(run, stored, source):  # before the recipe: its batches depend on their number
        return f"trained on other images of {source.name}"
    if _has_other_test_images([run], source):
        return f"tested on other images of {source.name}"
    if stored.batch_size != recipe.batch_size:
        images, _ = split_validation(source.load("train"), recipe.validation, SPLIT_SEED)
        recipe = fit_batch_size(recipe, len(images))
    others = [key for key, value in vars(recipe).items() if value != vars(stored)[key]]
    return f"trained with another recipe ({', '.join(others)})" if others else ""


def _has_other_test_images(folders: Sequence[Path], source: DataSource) -> bool:
    """Returns whether a run, or its copy in a comparison, was tested on other images; False if they are unknown."""
    test = source.load("test")
    unsuspicious = (None, arrays_sha256(test.images, test.labels))
    return any(read_object(folder / "metrics.json").get("test_sha256") not in unsuspicious for folder in folders)


def _has_other_images(run: Path, stored: Recipe, source: DataSource) -> bool:
    """Returns whether a run of this recipe was trained on other images; False if they are unknown."""
    known = read_data_sha256(run)
    if known is None:
        return False
    try:
        return known != splits_sha256(*split_validation(source.load("train"), stored.validation, SPLIT_SEED))
    except ConfigError:  # there are fewer images than in the run's validation split
        return True


def _row(name: str, runs: list[Path], source: DataSource, output: Path) -> dict[str, Any]:
    metrics = [read_metrics(run) for run in runs]
    accuracies = [figures["test"]["accuracy"] for figures in metrics]
    checkpoint = load_checkpoint(runs[0])
    exports = [_exported(run, load_checkpoint(run)) for run in runs]
    for run, exported in zip(runs, exports, strict=True):
        keep_evidence(run, output, exported=run == runs[0] and exported["int8_bytes"] is not None)
    smaller = [exported["int8_accuracy"] for exported in exports]
    return {
        "name": name,
        "dataset": source.name,
        "runs": [str(run) for run in runs],
        "accuracy": mean(accuracies),
        "accuracy_std": stdev(accuracies) if len(runs) > 1 else None,
        "interval": metrics[0]["test"]["accuracy_interval"] if len(runs) == 1 else None,
        **_size(checkpoint),
        **exports[0],
        "int8_accuracy": None if None in smaller else mean(smaller),
        **dict.fromkeys(("latency_us", "latency_measured")),
        "training_seconds": median(figures["training_seconds"] for figures in metrics),
        "claim": CLAIMS.get(name) if source.name in PUBLISHED_DATA else None,
    }


def _size(checkpoint: Checkpoint) -> dict[str, int]:
    return {"parameters": count_parameters(checkpoint.model), "macs": count_macs(checkpoint.model)}


def _exported(run: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the figures of the run's export if it was made from this checkpoint."""
    found: dict[str, Any] = dict.fromkeys(("float_bytes", "int8_bytes", "int8_accuracy"))
    path = run / "export" / "parity.json"
    report = read_object(path)
    if report.get("checkpoint_sha256") != checkpoint.sha256:
        return found
    try:
        for precision, written in (("float", "float32"), ("int8", "int8")):
            found[f"{precision}_bytes"] = report.get("files", {}).get(written, {}).get("bytes")
        found["int8_accuracy"] = report.get("accuracy", {}).get("int8", {}).get("accuracy")
    except MALFORMED as error:
        raise _damaged(path, run) from error
    sizes = (found["float_bytes"], found["int8_bytes"])
    whole = all(size is None or (isinstance(size, int) and 0 < size <= _MOST_BYTES) for size in sizes)
    if not whole or not (found["int8_accuracy"] is None or is_share(found["int8_accuracy"])):
        raise _damaged(path, run)
    return found


def _damaged(path: Path, run: Path) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: export {run} again, with the same options, or remove the file")


def _ensemble(runs: tuple[Path, ...], source: DataSource, test: Split) -> dict[str, Any]:
    """Returns the row of an ensemble: accuracy of the mean probabilities; sums of parameters, MACs and training time."""
    checkpoints = [load_checkpoint(run) for run in runs]
    models = [open_predictor(run) for run in runs]
    for run, model in zip(runs, models, strict=True):
        if model.labels != source.labels:
            raise ConfigError(f"the classes of {run} differ from those of {source.name}")
    report_seen(test, np.concatenate([model.seen for model in models]), source.origin)
    probabilities = np.mean([softmax(model.logits(test.images), model.temperature) for model in models], axis=0)
    correct = int((probabilities.argmax(axis=1) == test.labels).sum())
    seconds = [read_metrics(run)["training_seconds"] for run in runs if (run / "metrics.json").exists()]
    sizes = [_size(checkpoint) for checkpoint in checkpoints]
    return {
        "name": "mean of "
        + ", ".join(f"{current_name(c.info['recipe']['name'])} {c.info['seed']}" for c in checkpoints),
        "dataset": source.name,
        "runs": [str(run) for run in runs],
        "accuracy": correct / len(test),
        "accuracy_std": None,
        "interval": list(wilson_interval(correct, len(test))),
        **{key: sum(size[key] for size in sizes) for key in sizes[0]},
        **dict.fromkeys(("float_bytes", "int8_bytes", "int8_accuracy", "latency_us", "latency_measured")),
        "training_seconds": sum(seconds) if len(seconds) == len(runs) else None,
        "claim": None,
    }
