"""Description of a data set: counts, samples, mean images, pixel statistics, and the images at each stage of training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fmnist_runtime.files import write_atomically
from fmnist_train.augmentation.augment import augment
from fmnist_train.data.sources import DataSource, Split
from fmnist_train.evaluation.explore_plots import write_counts, write_means, write_pixels, write_samples, write_stages
from fmnist_train.files import refuse_replacing
from fmnist_train.models import Normalize
from fmnist_train.recipes import DEFAULT_RECIPE, RECIPES, Augmentation

__all__ = ["explore_dataset"]

_FILES = (
    "explore.json",
    "class_counts.png",
    "samples.png",
    "class_means.png",
    "pixels.png",
    "transforms.png",
)
_SEED = 0
_SHOWN = 10
"""Images shown at each stage of training."""


def explore_dataset(source: DataSource, output: Path, augmentation: Augmentation | None = None) -> dict[str, Any]:
    """Describes a data set. The test split is read for its class counts only.

    Args:
        source: Data set.
        output: Folder for ``class_counts.png``, ``samples.png``, ``class_means.png``, ``pixels.png``,
            ``transforms.png`` and ``explore.json``.
        augmentation: Changes of the training images; None: those of ``DEFAULT_RECIPE``.

    Returns:
        The content of ``explore.json``: ``name``, ``labels``, ``counts`` (a list for each split), ``pixels`` (statistics of
        the training images), ``classes`` (the same for each class) and ``transforms`` (shape and range by stage).
    """
    refuse_replacing(output, _FILES, mark="explore.json", keys=("counts", "pixels", "transforms"))
    augmentation = augmentation or RECIPES[DEFAULT_RECIPE].augmentation
    train, names = source.load("train"), source.labels
    splits = {"train": train, "test": source.load("test")}
    counts = {part: np.bincount(split.labels, minlength=len(names)) for part, split in splits.items()}
    stages = _stages(_take_varied(train, _SHOWN), augmentation)
    members = (train.images[train.labels == class_id] for class_id in range(len(names)))
    result = {
        "name": source.name,
        "labels": list(names),
        "counts": {part: count.tolist() for part, count in counts.items()},
        "pixels": _statistics(train.images),
        "classes": [{"label": name, **_statistics(images)} for name, images in zip(names, members, strict=True)],
        "transforms": [_describe(stage, array) for stage, array in stages.items()],
    }
    # First, because it marks the plots as those of this command, should it be interrupted.
    write_atomically(output / "explore.json", json.dumps(result, indent=2) + "\n")
    write_counts(counts, names, output / "class_counts.png")
    write_samples(train, names, output / "samples.png")
    write_means(train, names, output / "class_means.png")
    write_pixels(train, names, output / "pixels.png")
    write_stages(stages, output / "transforms.png")
    return result


def _take_varied(split: Split, count: int) -> Split:
    """Returns ``count`` images: one of each class, then the second of each class, and so on."""
    firsts = [np.flatnonzero(split.labels == label) for label in np.unique(split.labels)]
    mixed = [members[row] for row in range(count) for members in firsts if row < len(members)]
    return split.take(np.array(mixed[:count]))


def _statistics(images: np.ndarray) -> dict[str, Any]:
    """Computes statistics of 8-bit pixels from their histogram, exactly and without a float copy of the images."""
    if not images.size:
        return {"images": 0}
    histogram = np.bincount(images.reshape(-1), minlength=256)
    values, share = np.arange(256), histogram / images.size
    mean = float(values @ share)
    present = np.flatnonzero(histogram)
    return {
        "images": len(images),
        "mean": mean,
        "std": float(np.sqrt(((values - mean) ** 2) @ share)),
        "min": int(present[0]),
        "max": int(present[-1]),
        "share_of_zeros": float(share[0]),
    }


def _stages(split: Split, augmentation: Augmentation) -> dict[str, np.ndarray]:
    """Returns the images as in the file, as a batch, after augmentation, and after normalization, by stage."""
    batch = torch.from_numpy(split.images).unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        augmented, _ = augment(batch, torch.from_numpy(split.labels), augmentation)
    normalized = Normalize()(augmented)
    stages = {"file": split.images, "batch": batch, "augmented": augmented, "normalised": normalized}
    return {name: np.asarray(array) for name, array in stages.items()}


def _describe(stage: str, array: np.ndarray) -> dict[str, Any]:
    return {
        "stage": stage,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean()),
        "std": float(array.std()),
    }
