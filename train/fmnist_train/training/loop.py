"""The training loop, in the order of execution. It reads no test image.

All images are on the device as one uint8 tensor. Order, augmentation and dropout of an epoch depend on one seed, made of the
run's seed and the epoch's number. So a run that is resumed after any finished epoch ends with the same weights as one without
an interruption.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_runtime.errors import ConfigError, FmnistError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.checkpoint import Checkpoint, save_checkpoint
from fmnist_train.data.sources import Split, cache_folder
from fmnist_train.data.splits import splits_sha256
from fmnist_train.models import build_model
from fmnist_train.recipes import Recipe
from fmnist_train.training.distributed import (
    is_first,
    mean_over_processes,
    rank_and_world,
    share_buffers,
    wrap_distributed,
)
from fmnist_train.training.loss import Loss
from fmnist_train.training.optim import Schedule, make_optimizer
from fmnist_train.training.photos import PhotoData, PhotoSampler, photos_in_batch
from fmnist_train.training.state import Epoch, TrainingState
from fmnist_train.training.step import TrainingImages, TrainingStep
from fmnist_train.training.teacher import StoredViews, ViewTeacher
from fmnist_train.training.validation import describe_photos, validate_images, validate_photos

__all__ = ["Training", "TrainingError"]


class TrainingError(FmnistError):
    """Training cannot continue, for example because the loss is not finite; the best checkpoint so far is kept."""


class Training:
    """One run of a recipe. After each epoch, its folder contains the last state and the best checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        train: Split,
        validation: Split,
        folder: Path,
        *,
        seed: int = 0,
        device: torch.device,
        mixed_precision: bool = True,
        teachers: Sequence[Checkpoint] = (),
        start: Checkpoint | None = None,
        photos: PhotoData | None = None,
        photo_teachers: Sequence[Checkpoint] = (),
        description: Mapping[str, Any],
    ) -> None:
        self.epoch_images = min(recipe.epoch_images or len(train), len(train))
        _check_batches(recipe, len(train), self.epoch_images)
        self.recipe, self.folder, self.seed, self.device = recipe, folder, seed, device
        self.validation, self.start, self.photos = validation, start, photos
        self.data_sha256 = splits_sha256(train, validation)
        self.description = {**description, **_inputs([*teachers, *photo_teachers], start, photos)}
        self.history: list[Epoch] = []
        torch.manual_seed(seed)
        labels = list(description["labels"])
        options = {"classes": len(labels), **recipe.model_options}
        self.model = build_model(recipe.model, **options).to(device).to(memory_format=torch.channels_last)
        self.model_info = {"name": recipe.model, "options": options}
        if start is not None:
            _load_first_weights(self.model, start)
        self.state = _make_state(self.model, recipe, self.epoch_images // recipe.batch_size)
        self.step = self._make_step(train, teachers, photo_teachers, mixed_precision=mixed_precision)
        images, cache = self.step.data.images, cache_folder().with_name("views")
        self.views = (
            StoredViews(recipe, teachers, images, cache, mixed_precision=mixed_precision)
            if recipe.stored_views
            else None
        )

    def _make_step(
        self,
        train: Split,
        teachers: Sequence[Checkpoint],
        photo_teachers: Sequence[Checkpoint],
        *,
        mixed_precision: bool,
    ) -> TrainingStep:
        recipe, photos, device, labels = self.recipe, self.photos, self.device, self.description["labels"]
        images = torch.from_numpy(train.images).unsqueeze(1).to(device)
        targets = torch.from_numpy(train.labels).to(device)
        return TrainingStep(
            recipe,
            TrainingImages(images, targets, len(labels), list(labels) == list(DATASET_LABELS)),
            self.state,
            network=wrap_distributed(self.model, recipe.batch_size),
            loss=Loss(recipe, len(labels)).to(device),
            teacher=ViewTeacher(teachers, device) if teachers and not recipe.stored_views else None,
            photo_teacher=ViewTeacher(photo_teachers, device) if photo_teachers else None,
            sampler=(
                None if photos is None else PhotoSampler(photos.train, recipe.photo_balance, device, photo_teachers)
            ),
            mixed_precision=mixed_precision,
        )

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(
        self,
        report: Callable[[Epoch], None] = lambda epoch: None,
        tick: Callable[[int, int], None] = lambda batch, batches: None,
    ) -> None:
        """Trains to the end of the recipe, starting after the last finished epoch.

        Args:
            report: Called with each finished epoch after it was saved.
            tick: Called after each batch with its number and the number of batches in the epoch.
        """
        while len(self.history) < self.recipe.epochs and not self.should_stop():
            epoch = self._run_epoch(len(self.history) + 1, tick)
            self.history.append(epoch)
            self.state.schedule.after_epoch(self._monitored(epoch))
            if is_first():
                self._save(epoch)
            report(epoch)

    def _run_epoch(self, number: int, tick: Callable[[int, int], None]) -> Epoch:
        """Trains and validates once."""
        start = time.perf_counter()
        train_loss, train_accuracy = self._train_epoch(number, tick)
        share_buffers(self.model, self.state.average)
        validation = validate_images(self.shipped_model(), self.validation)
        photo_accuracy, photo_class_mean = self._validate_photos()
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation["loss"],
            validation_accuracy=validation["accuracy"],
            learning_rate=self.state.optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - start,
            photo_accuracy=photo_accuracy,
            photo_class_mean=photo_class_mean,
        )

    def _save(self, epoch: Epoch) -> None:
        """Writes the last state, and the best checkpoint if this epoch is the best."""
        if self.best_epoch() == epoch.epoch:
            model, info = self.shipped_model(), self.describe()
            if self.photos is not None:
                figures = epoch.photo_accuracy, epoch.photo_class_mean
                info["photos"] = describe_photos(model, self.photos.validation, *figures)
            save_checkpoint(self.folder / "best", model, info)
        info = {**self.describe(), "data_sha256": self.data_sha256}
        self.state.save(self.folder / "last.safetensors", info, self.history)

    def _train_epoch(self, number: int, tick: Callable[[int, int], None]) -> tuple[float, float]:
        view = None if self.views is None else self.views.load((number - 1) % self.recipe.stored_views)
        torch.manual_seed(self.seed * 1_000_003 + number)
        self.model.train()
        order = torch.randperm(len(self.step.data.labels), device=self.device)[: self.epoch_images]
        size, batches = self.recipe.batch_size, self.epoch_images // self.recipe.batch_size
        rank, world = rank_and_world()
        if rank:  # all processes share the order, and each draws its own augmentation
            torch.manual_seed(self.seed * 1_000_003 + number + rank * 500_009)
        total_loss = torch.zeros((), device=self.device)
        total_correct = torch.zeros((), device=self.device)
        for i in range(batches):
            loss, correct = self.step(order[i * size : (i + 1) * size][rank::world], view)
            total_loss += loss
            total_correct += correct
            if i % 50 == 0 and not torch.isfinite(total_loss):
                self._refuse_nan(number, i)
            tick(i + 1, batches)
        total_loss, total_correct = mean_over_processes(total_loss), mean_over_processes(total_correct) * world
        if not torch.isfinite(total_loss):
            self._refuse_nan(number, batches - 1)
        return total_loss.item() / batches, total_correct.item() / (batches * size)

    def _validate_photos(self) -> tuple[float | None, float | None]:
        """Returns the accuracy on all views of the validation photos: over all photos, and as the mean over answer sets."""
        if self.photos is None:
            return None, None
        return validate_photos(self.shipped_model(), self.photos.validation)

    def _refuse_nan(self, epoch: int, step: int) -> None:
        raise TrainingError(
            f"the loss is not finite at epoch {epoch}, by step {step + 1}; lower --learning-rate "
            "or set --gradient-clip 1; the checkpoints of earlier epochs are kept"
        )

    # -- choice of the best epoch -----------------------------------------------------------------------------------

    def shipped_model(self) -> nn.Module:
        """Returns the network that is validated and saved: the moving average if the recipe has one."""
        average = self.state.average
        return average.module if isinstance(average, AveragedModel) else self.model

    def _monitored(self, epoch: Epoch) -> float:
        """Returns the figure by which epochs are compared, larger is better; without validation, the epoch's number."""
        accuracy, loss = epoch.validation_accuracy, epoch.validation_loss
        if accuracy is None or loss is None or self.recipe.monitor == "last":
            return float(epoch.epoch)
        if self.recipe.monitor == "photos" and epoch.photo_accuracy is not None:
            return (accuracy + epoch.photo_accuracy) / 2
        return -loss if self.recipe.monitor == "loss" else accuracy

    def best_epoch(self) -> int | None:
        """Returns the number of the best epoch so far, the first of equal ones; None before the first epoch ends."""
        return max(self.history, key=lambda e: (self._monitored(e), -e.epoch)).epoch if self.history else None

    def should_stop(self) -> bool:
        """Returns whether early stopping applies: ``patience`` epochs without progress of at least ``min_delta``."""
        if not self.recipe.patience:
            return False
        reached, since = float("-inf"), 0
        for epoch in self.history:
            if self._monitored(epoch) > reached + self.recipe.min_delta:
                reached, since = self._monitored(epoch), 0
            else:
                since += 1
        return since >= self.recipe.patience

    # -- saving and resuming ----------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Returns the description in a checkpoint of the last finished epoch."""
        last = self.history[-1]
        return {
            **self.description,
            "model": self.model_info,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "epoch": last.epoch,
            "validation": {"accuracy": last.validation_accuracy, "loss": last.validation_loss},
        }

    def resume(self) -> None:
        """Loads the last finished epoch in the run's folder.

        Raises:
            CheckpointError: There is no complete state.
            ConfigError: It belongs to another recipe, seed or data set.
        """
        identity = {
            "dataset": self.description["dataset"],
            "classes": self.description["labels"],
            "data": self.data_sha256,
            "recipe": self.recipe.to_dict(),  # after the data: the size of its batches depends on the number of images
            "seed": self.seed,
        }
        named = {"teachers": "teacher", "start": "start", "photos_sha256": "photos"}
        identity |= {name: self.description[key] for key, name in named.items() if key in self.description}
        self.history = self.state.restore(self.folder / "last.safetensors", identity)


def _check_batches(recipe: Recipe, images: int, epoch_images: int) -> None:
    """Raises an error if the images of an epoch do not fill one batch, or a batch would have no photo."""
    if recipe.batch_size > images:
        raise ConfigError(
            f"batch size {recipe.batch_size} is larger than the {images} training images; lower --batch-size"
        )
    if recipe.batch_size > epoch_images:
        raise ConfigError(
            f"batch size {recipe.batch_size} is larger than the {epoch_images} images of an epoch; "
            "lower --batch-size, or raise --epoch-images"
        )
    if recipe.photo_share and not photos_in_batch(recipe.photo_share, recipe.batch_size):
        raise ConfigError(
            f"a share of {recipe.photo_share:g} is less than one photo beside {recipe.batch_size} images; raise --photo-share"
        )


def _load_first_weights(model: nn.Module, start: Checkpoint) -> None:
    """Copies a checkpoint's weights and statistics into a network.

    Raises:
        ConfigError: The checkpoint is of another network.
    """
    try:
        model.load_state_dict(start.model.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"{start.path}: not the recipe's network; name another --start") from error


def _inputs(teachers: Sequence[Checkpoint], start: Checkpoint | None, photos: PhotoData | None) -> dict[str, Any]:
    """Returns the SHA-256 of the teachers, first weights and photos, for the checkpoint's description."""
    inputs: dict[str, Any] = {}
    if teachers:
        inputs["teachers"] = [teacher.sha256 for teacher in teachers]
    if start is not None:
        inputs["start"] = start.sha256
    if photos is not None:
        inputs["photos_sha256"] = photos.sha256
    return inputs


def _make_state(model: nn.Module, recipe: Recipe, steps_per_epoch: int) -> TrainingState:
    average = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if recipe.ema_decay
        else None
    )
    optimizer = make_optimizer(model, recipe)
    return TrainingState(model, average, optimizer, Schedule(optimizer, recipe, steps_per_epoch))
