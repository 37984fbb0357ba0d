"""One complete run: data, training, one evaluation on the test set, metrics and plots."""

import csv
import dataclasses
import io
import json
import math
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_runtime.files import make_folder, write_atomically
from fmnist_train.checkpoint import load_checkpoint, read_description
from fmnist_train.data.seen import describe_seen, hash_images, report_learned, report_repeated, report_seen, stored_seen
from fmnist_train.data.sources import (
    PUBLISHED,
    DataSource,
    Split,
    cache_folder,
    find_dataset,
    refuse_as_output,
    split_validation,
)
from fmnist_train.data.splits import arrays_sha256, describe_classes
from fmnist_train.evaluation import plots
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import classification_metrics, softmax
from fmnist_train.files import lock_folder, refuse_replacing
from fmnist_train.recipes import RECIPES, Recipe
from fmnist_train.run_options import RunOptions
from fmnist_train.training.device import choose_device, keep_freed_memory
from fmnist_train.training.distributed import is_first, process_group
from fmnist_train.training.loop import Training
from fmnist_train.training.photos import load_photo_data
from fmnist_train.training.progress import Progress
from fmnist_train.training.state import Epoch
from fmnist_train.training.teacher import find_photo_teachers, find_start, find_teachers
from fmnist_train.training.tensorboard import event_writer

__all__ = [
    "RUN_FILES",
    "SPLIT_SEED",
    "RunInputs",
    "RunOptions",
    "evaluate_checkpoint",
    "fit_batch_size",
    "read_inputs",
    "stop_on_interrupt",
    "train",
]

SPLIT_SEED = 20170828
"""Seed of the validation split, which is the same for all seeds of a recipe. A smaller split is a subset of a larger one, so
figures of both are comparable."""


@dataclass(frozen=True)
class RunInputs:
    """Data and checkpoints that a run reads before training, without the test set."""

    source: DataSource
    """Data set."""
    train: Split
    """Training images."""
    validation: Split
    """Validation images."""
    others: Mapping[str, Any]
    """Further arguments of ``Training``: first weights, teachers and photos."""

    def fit_batch_size(self, recipe: Recipe, note: Callable[[str], None]) -> Recipe:
        """Returns the recipe with batches that fit the training images; see the function ``fit_batch_size``."""
        images, fitted = len(self.train), fit_batch_size(recipe, len(self.train))
        if fitted != recipe:
            note(
                f"batches of {fitted.batch_size} images, because {images} do not fill the {recipe.batch_size} of the recipe"
            )
        return fitted

    def training(self, recipe: Recipe, folder: Path, options: RunOptions, device: torch.device) -> Training:
        """Returns a new run of a recipe that learns from the same checkpoints and photos.

        The run's recipe names no first weights and no teachers where options replaced them: its files have their SHA-256.
        """
        given = {"start": options.start, "teacher": options.teachers, "photo_teacher": options.photo_teachers}
        replaced: dict[str, Any] = {name: "" for name, paths in given.items() if paths}
        return Training(
            dataclasses.replace(recipe, **replaced),
            self.train,
            self.validation,
            folder,
            seed=options.seed,
            device=device,
            mixed_precision=options.mixed_precision,
            description={"labels": list(self.source.labels), "dataset": self.source.name, **self._seen(options)},
            **self.others,
        )

    def _seen(self, options: RunOptions) -> dict[str, str]:
        """Returns the description of the images of this training, and of the training of its first weights."""
        own = [] if options.data in PUBLISHED else [hash_images(self.train.images), hash_images(self.validation.images)]
        start = self.others["start"]
        earlier = [] if start is None else [stored_seen(start.info, start.path)]
        return describe_seen(np.concatenate([np.empty(0, np.uint64), *own, *earlier]))


def fit_batch_size(recipe: Recipe, images: int) -> Recipe:
    """Returns the recipe, with smaller batches if there are fewer images than in one; a size chosen by the user is kept.

    The new size gives at least three steps in an epoch.

    Args:
        recipe: Recipe of a run.
        images: Number of training images, without those of validation.
    """
    chosen = recipe.name in RECIPES and RECIPES[recipe.name].batch_size != recipe.batch_size
    if chosen or recipe.batch_size <= images:
        return recipe
    return dataclasses.replace(recipe, batch_size=max(2, 2 ** int(math.log2(max(2, images / 3)))))


def read_inputs(recipe: Recipe, options: RunOptions, note: Callable[[str], None]) -> RunInputs:
    """Reads training and validation images, and loads the checkpoints and photos that the recipe needs."""
    source = find_dataset(options.data, options.data_dir)
    images = source.load("train")
    note(describe_classes(images.labels, source.labels))
    training, validation = split_validation(images, recipe.validation, SPLIT_SEED)
    report_repeated(training, validation, source.origin)
    start = find_start(recipe, options.start, source.labels)
    if start is not None:
        report_learned(training, validation, start, source.name, source.origin)
    teachers = find_teachers(recipe, options.teachers, source.labels, start)
    photo_teachers = find_photo_teachers(recipe, options.photo_teachers, source.labels)
    for use, checkpoints in (
        ("first weights", [start] if start else []),
        ("teachers", teachers),
        ("teachers of photos", photo_teachers),
    ):
        if checkpoints:
            note(f"{use}: {', '.join(str(checkpoint.path) for checkpoint in checkpoints)}")
    photo_cache = cache_folder().with_name("photos")  # last, because making the views of photos takes minutes
    photos = load_photo_data(recipe, options.photos, source.labels, training, cache=photo_cache, note=note)
    others = {"start": start, "photos": photos, "teachers": teachers, "photo_teachers": photo_teachers}
    return RunInputs(source, training, validation, others)


def train(recipe: Recipe, options: RunOptions, progress: Progress) -> dict[str, Any] | None:
    """Trains, tests the epoch that validation chose, and writes all results into the run's folder.

    Returns:
        The content of ``metrics.json``; None in the further processes of ``torchrun``, which write nothing.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    with process_group(choose_device(options.device)) as device:
        return _train(recipe, options, progress if is_first() else Progress(quiet=True), device)


def _train(recipe: Recipe, options: RunOptions, progress: Progress, device: torch.device) -> dict[str, Any] | None:
    folder = options.folder(recipe)
    refuse_as_output(folder, options.data)
    _check_folder(folder, resume=options.resume)
    inputs = read_inputs(recipe, options, progress.note)
    training = inputs.training(inputs.fit_batch_size(recipe, progress.note), folder, options, device)
    if is_first():
        make_folder(folder)
    with lock_folder(folder) if is_first() else nullcontext():
        _check_folder(folder, resume=options.resume)  # once more: another run may have ended since
        if options.resume:
            training.resume()
        try:
            return _run(training, inputs, options, progress)
        except OSError:  # for example of a full disk
            if (folder / "last.safetensors").exists():
                progress.note(f"{folder} keeps the run so far: the command goes on with it if --resume is added")
            raise


_CHECKPOINT = ("best.safetensors", "best.json")
"""Files that a run writes first, in each epoch that is better than those before."""
_RESULTS = (
    "metrics.json",
    "history.csv",
    "history.json",
    "training_curves.png",
    "confusion_matrix.png",
    "sample_predictions.png",
    "worst_mistakes.png",
    "reliability.png",
)
"""Files of a run that it writes after ``last.safetensors``."""
RUN_FILES = (*_CHECKPOINT, *_RESULTS)
"""All files of a run but ``last.safetensors``."""


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Raises an error for a new run in a folder that contains one or its files, and for resuming in a folder without one."""
    exists = (folder / "last.safetensors").exists()
    if exists and not resume:
        raise ConfigError(
            f"{folder} holds a run already: continue it with --resume, or give another --output or --seed"
        )
    if resume and not exists:
        raise CheckpointError(f"{folder}: no run to resume here; start it without --resume")
    if not exists:
        refuse_replacing(folder, _RESULTS if _was_killed_in_first_epoch(folder) else (*_CHECKPOINT, *_RESULTS))


def _was_killed_in_first_epoch(folder: Path) -> bool:
    """Returns whether a folder's checkpoint is that of a first epoch: a run killed before ``last.safetensors`` leaves one."""
    with suppress(CheckpointError):
        return bool(read_description(folder).get("epoch") == 1)
    return False


def _run(training: Training, inputs: RunInputs, options: RunOptions, progress: Progress) -> dict[str, Any] | None:
    folder, recipe = training.folder, training.recipe
    log = event_writer(folder / "tensorboard") if options.tensorboard and is_first() else None
    interrupted = False
    with (
        stop_on_interrupt() as stop,
        progress.of_run(recipe, len(inputs.train), len(training.validation), training.device),
    ):

        def tick(batch: int, batches: int) -> None:
            progress.batch(batch, batches)
            stop.check()

        def report(epoch: Epoch) -> None:
            if is_first():
                _write_history(training.history, folder)
            if log is not None:
                log(epoch)
            progress.epoch(epoch, best=training.best_epoch() == epoch.epoch)

        try:
            training.run(report, tick)
        except KeyboardInterrupt:
            interrupted = True
    if not training.history:
        raise CheckpointError("interrupted before the first epoch was finished; nothing to evaluate yet")
    if not is_first():
        return None
    seconds = sum(epoch.seconds for epoch in training.history)
    progress.note(
        "interrupted; testing the best epoch so far (--resume goes on)" if interrupted else "testing the best epoch"
    )
    more = {
        "epochs_trained": len(training.history),
        "interrupted": interrupted,
        "training_seconds": seconds,
    }
    seen = np.concatenate([inputs.train.images, inputs.validation.images])
    return evaluate_checkpoint(folder, inputs.source, seen, training.device, more, history=training.history)


def evaluate_checkpoint(
    folder: Path,
    source: DataSource,
    seen: np.ndarray,
    device: torch.device,
    more: Mapping[str, Any],
    *,
    history: Sequence[Epoch] = (),
) -> dict[str, Any]:
    """Evaluates a folder's checkpoint on the test set, and writes metrics and plots.

    Args:
        folder: Folder of ``best.safetensors``.
        source: Data set.
        seen: Images of training and validation, uint8 ``[N, 28, 28]``; test images among them give a warning.
        device: Device of the evaluation.
        more: Further fields of ``metrics.json``.
        history: Epochs of the run; without them, no training curves are drawn.

    Returns:
        The content of ``metrics.json``.
    """
    checkpoint = load_checkpoint(folder)
    test = source.load("test")
    known = np.concatenate([hash_images(seen), stored_seen(checkpoint.info, checkpoint.path)])
    report_seen(test, known, source.origin)
    logits = predict_logits(checkpoint.model.to(device), test.images)
    metrics = {
        **{key: checkpoint.info[key] for key in ("model", "recipe", "seed", "epoch", "dataset", "validation")},
        "checkpoint_sha256": checkpoint.sha256,
        "test": classification_metrics(logits, test.labels, source.labels),
        "test_sha256": arrays_sha256(test.images, test.labels),
        **more,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "machine": {"device": str(device), "threads": torch.get_num_threads(), "platform": platform.platform()},
    }
    if history:
        _write_history(history, folder)
        rows = [dataclasses.asdict(epoch) for epoch in history]
        plots.write_training_curves(rows, metrics["epoch"], folder / "training_curves.png")
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    _write_plots(folder, metrics, test, softmax(logits), source.labels)
    return metrics


def _write_plots(
    folder: Path, metrics: dict[str, Any], test: Split, probabilities: np.ndarray, labels: Sequence[str]
) -> None:
    plots.write_confusion_matrix(np.array(metrics["test"]["confusion_matrix"]), labels, folder / "confusion_matrix.png")
    predictions = plots.Predictions(test.images, test.labels, probabilities, labels)
    plots.write_sample_predictions(predictions, folder / "sample_predictions.png")
    plots.write_worst_mistakes(predictions, folder / "worst_mistakes.png")
    plots.write_reliability_diagram(probabilities, test.labels, folder / "reliability.png")


def _write_history(history: Sequence[Epoch], folder: Path) -> None:
    rows = [dataclasses.asdict(epoch) for epoch in history]
    write_atomically(folder / "history.json", json.dumps(rows, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "history.csv", text.getvalue())


class _Stop:
    """Request to stop after a signal. ``check`` is called between two batches, and then raises ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt


@contextmanager
def stop_on_interrupt() -> Iterator[_Stop]:
    """Context manager for stopping between two batches at the first Ctrl-C or SIGTERM; a second one interrupts at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        restore()

    for number in previous:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
