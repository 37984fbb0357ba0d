"""Average of finished runs: one network from several fine-tunings of the same first weights.

Model soups, Wortsman et al. 2022 (arXiv:2203.05482). Runs that start from the same weights and differ in their seeds end near one
minimum, so the mean of their weights is a network, too, and is usually more accurate than each of them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_runtime.files import make_folder
from fmnist_train.checkpoint import (
    Checkpoint,
    is_finished,
    load_checkpoint,
    read_data_sha256,
    read_description,
    read_metrics,
    save_checkpoint,
)
from fmnist_train.data.sources import cache_folder, find_dataset, split_validation
from fmnist_train.data.splits import splits_sha256
from fmnist_train.files import lock_folder
from fmnist_train.recipes import recipe_from_dict
from fmnist_train.run_options import DataOptions
from fmnist_train.training.photos import load_photo_data
from fmnist_train.training.progress import Progress
from fmnist_train.training.run import SPLIT_SEED, evaluate_checkpoint
from fmnist_train.training.validation import describe_photos, validate_images, validate_photos

__all__ = ["AverageOptions", "average_runs"]

_SAME = {
    "model": "networks",
    "labels": "classes",
    "dataset": "data sets",
    "start": "first weights",
    "recipe": "recipes",
    "teachers": "teachers",
    "photos_sha256": "photos",
}
"""Fields of a checkpoint's description that all runs must share, with their names in messages."""


@dataclass(frozen=True)
class AverageOptions:
    """Data of an average, which are those of its runs."""

    data: DataOptions = field(default_factory=DataOptions)
    """Data set."""
    photos: Path | None = None
    """Folder of labeled photos, for runs that were fine-tuned with photos."""


def average_runs(runs: Sequence[Path], output: Path, options: AverageOptions, progress: Progress) -> dict[str, Any]:
    """Averages the weights of finished runs, validates the average, and tests it once.

    Args:
        runs: Folders of at least two runs with the same recipe and the same first weights.
        output: Folder of the average: its checkpoint, ``metrics.json`` and plots. It must not contain a run.
        options: Data of the runs.
        progress: Receives notes.

    Returns:
        The content of ``metrics.json``. ``seed`` is that of the first run; ``averaged`` has a row for each run, with its seed,
        epoch, validation and test accuracy.

    Raises:
        CheckpointError: A run is not finished, or its ``metrics.json`` is damaged.
        ConfigError: There are fewer than two runs, they differ in more than their seeds or were trained on another data set,
            or ``output`` contains a run.
    """
    checkpoints = [load_checkpoint(run) for run in runs]
    unfinished = [run for run in runs if not is_finished(run)]
    if unfinished:
        raise CheckpointError(f"{unfinished[0]} is no finished run: continue it with --resume")
    _check_alike(checkpoints)
    _check_output(output)
    rows = [_row(run, checkpoint) for run, checkpoint in zip(runs, checkpoints, strict=True)]
    info = checkpoints[0].info
    recipe = recipe_from_dict(info["recipe"])
    source = find_dataset(options.data.data, options.data.data_dir)
    if info["dataset"] != source.name:
        raise ConfigError(f"the runs were trained on {info['dataset']}, not on {source.name}: name it with --data")
    images, validation = split_validation(source.load("train"), recipe.validation, SPLIT_SEED)
    data = splits_sha256(images, validation)
    for run in runs:
        if read_data_sha256(run) not in (None, data):
            raise ConfigError(f"{run} was trained on other images of {source.name}: name those with --data")
    photo_cache = cache_folder().with_name("photos")
    photos = load_photo_data(recipe, options.photos, source.labels, images, photo_cache, progress.note)
    if photos is not None and photos.sha256 != info["photos_sha256"]:
        progress.note(
            "the photos are not those of the runs, or are prepared by other code: the figures on photos differ"
        )
    network = checkpoints[0].model
    network.load_state_dict(_mean_weights(checkpoints))
    found: dict[str, Any] = {"validation": validate_images(network, validation)}
    if photos is not None:
        found["photos"] = describe_photos(network, photos.validation, *validate_photos(network, photos.validation))
    make_folder(output)
    with lock_folder(output):
        _check_output(output)  # once more: another process may have ended since
        save_checkpoint(output / "best", network, {**info, **found, "averaged": rows})
        progress.note("testing the average")
        seconds = sum(row["training_seconds"] for row in rows)
        more = {"averaged": rows, "interrupted": False, "training_seconds": seconds}
        seen = np.concatenate([images.images, validation.images])
        return evaluate_checkpoint(output, source, seen, torch.device("cpu"), more)


def _check_output(output: Path) -> None:
    is_run = (output / "last.safetensors").exists()
    if is_run or ((output / "best.safetensors").exists() and not _was_interrupted(output)):
        raise ConfigError(f"{output} holds a run already: give another --output")


def _was_interrupted(output: Path) -> bool:
    """Returns whether a folder has an average that was not tested, because its process ended."""
    with suppress(CheckpointError):
        return "averaged" in read_description(output) and not (output / "metrics.json").exists()
    return False


def _check_alike(checkpoints: Sequence[Checkpoint]) -> None:
    if len(checkpoints) < 2:
        raise ConfigError("an average needs at least two runs")
    first, *others = checkpoints
    if "start" not in first.info:
        raise ConfigError(
            f"{first.path}: only runs from the same first weights have a useful average, and this one began with random weights"
        )
    for other in others:
        for key, name in _SAME.items():
            if _field(other, key) != _field(first, key):
                raise ConfigError(
                    f"{first.path} and {other.path} have different {name}: average runs that differ in their seeds"
                )
        if other.sha256 == first.sha256:
            raise ConfigError(f"{first.path} and {other.path} are the same: average runs that differ in their seeds")


def _field(checkpoint: Checkpoint, key: str) -> Any:
    """Returns a field of a checkpoint's description; a recipe as it is read, since older files have fields that are gone.

    The first weights and teachers of a recipe are compared by their SHA-256, which have fields of their own.
    """
    return recipe_from_dict(checkpoint.info["recipe"]).without_inputs() if key == "recipe" else checkpoint.info.get(key)


def _mean_weights(checkpoints: Sequence[Checkpoint]) -> dict[str, torch.Tensor]:
    mean = {name: tensor.clone() for name, tensor in checkpoints[0].model.state_dict().items()}
    for count, checkpoint in enumerate(checkpoints[1:], start=2):
        for name, tensor in checkpoint.model.state_dict().items():
            mean[name] = torch.lerp(mean[name].float(), tensor.float(), 1 / count).to(tensor.dtype)
    return mean


def _row(run: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the figures of one run, as model cards list them."""
    metrics = read_metrics(run)
    return {
        "seed": metrics["seed"],
        "epoch": metrics["epoch"],
        "validation": metrics["validation"]["accuracy"],
        "test": metrics["test"]["accuracy"],
        "checkpoint_sha256": checkpoint.sha256,
        "training_seconds": metrics["training_seconds"],
    }
