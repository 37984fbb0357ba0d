"""The training loop, read from top to bottom; it never sees the test set.

All images lie on the device as one uint8 tensor. Each epoch draws everything random (order, augmentation, dropout) from
one seed made of the run's seed and the epoch's number, so a run that is resumed after any finished epoch ends with the
same weights as one that was never interrupted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_runtime.errors import ConfigError, FmnistError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.augmentation.augment import augment
from fmnist_train.augmentation.outliers import OUTLIER_WEIGHT, draw_outliers, uniform_loss
from fmnist_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fmnist_train.data.sources import Split, cache_folder
from fmnist_train.data.splits import arrays_sha256
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.models import build_model
from fmnist_train.recipes import Recipe
from fmnist_train.training.device import autocast
from fmnist_train.training.distributed import average, is_first, rank_and_world, share_buffers, spread
from fmnist_train.training.loss import Loss, mix_pairs
from fmnist_train.training.optim import Schedule, make_optimiser
from fmnist_train.training.photos import (
    PhotoData,
    PhotoSampler,
    choose_average,
    load_first_weights,
    photo_loss,
    validate_photos,
)
from fmnist_train.training.state import Epoch, restore_state, save_state
from fmnist_train.training.teacher import StoredViews, View, distillation_loss, make_teacher

__all__ = ["Training", "TrainingError"]


class TrainingError(FmnistError):
    """Training cannot go on, a loss that is no number for one; the best checkpoint so far is kept."""


class Training:
    """One run of a recipe, in a folder that always holds its last and best state."""

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
        about: Mapping[str, Any],
    ) -> None:
        if recipe.batch_size > len(train):
            raise ConfigError(
                f"batch size {recipe.batch_size} is larger than the {len(train)} training images; lower --batch-size"
            )
        self.recipe, self.folder, self.seed, self.device = recipe, folder, seed, device
        self.mixed_precision = mixed_precision
        self.about = {**about, "teachers": [teacher.sha256 for teacher in teachers]} if teachers else about
        self.fashion = list(about["labels"]) == list(DATASET_LABELS)
        self.history: list[Epoch] = []
        self.validation = validation
        self.data_sha256 = arrays_sha256(train.images, train.labels, validation.images, validation.labels)
        if start is not None:
            self.about = {**self.about, "start": start.sha256}
        if photos is not None:
            self.about = {**self.about, "photos_sha256": photos.sha256}
        self.images = torch.from_numpy(train.images).unsqueeze(1).to(device)
        self.labels = torch.from_numpy(train.labels).to(device)
        torch.manual_seed(seed)
        options = {"classes": len(about["labels"]), **recipe.model_options}
        self.model = build_model(recipe.model, **options).to(device, memory_format=torch.channels_last)
        self.model_info = {"name": recipe.model, "options": options}
        self.start = start
        if start is not None:
            load_first_weights(self.model, start)
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
            if recipe.ema_decay
            else None
        )
        self.spread = spread(self.model, recipe.batch_size)
        self.teacher = make_teacher(recipe, teachers, train.images, device)
        self.views = (
            StoredViews(
                recipe, teachers, self.images, cache_folder().with_name("views"), mixed_precision=mixed_precision
            )
            if recipe.stored_views
            else None
        )
        self.optimiser = make_optimiser(self.model, recipe)
        self.loss = Loss(recipe, len(about["labels"])).to(device)
        self.photos = photos
        self.sampler = None if photos is None else PhotoSampler(photos.train, recipe.photo_balance, device)
        self.epoch_images = min(recipe.epoch_images or len(train), len(train))
        self.schedule = Schedule(self.optimiser, recipe, self.epoch_images // recipe.batch_size)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(
        self,
        report: Callable[[Epoch], None] = lambda epoch: None,
        tick: Callable[[int, int], None] = lambda batch, batches: None,
    ) -> None:
        """Train to the end of the recipe, from wherever the run stands.

        Args:
            report: called with each finished epoch, after it is saved.
            tick: called after each batch with its number and the count of batches in the epoch.
        """
        while len(self.history) < self.recipe.epochs and not self.exhausted():
            start = time.perf_counter()
            number = len(self.history) + 1
            loss, accuracy = self._train_epoch(number, tick)
            share_buffers(self.model, self.average)
            validated = self._validate()
            rate = self.optimiser.param_groups[0]["lr"]
            seconds = time.perf_counter() - start
            self.history.append(Epoch(number, loss, accuracy, *validated, rate, seconds, *self._validate_photos()))
            self.schedule.after_epoch(self._monitored(self.history[-1]))
            if is_first() and self.best_epoch() == number:
                save_checkpoint(self.folder / self.best_name, self.shipped_model(), self.describe())
            if is_first():
                save_state(self, self.folder / "last.safetensors")
            report(self.history[-1])

    def _train_epoch(self, number: int, tick: Callable[[int, int], None]) -> tuple[float, float]:
        view = None if self.views is None else self.views.load((number - 1) % self.recipe.stored_views)
        torch.manual_seed(self.seed * 1_000_003 + number)
        self.model.train()
        order = torch.randperm(len(self.images), device=self.device)[: self.epoch_images]
        batches = len(order) // self.recipe.batch_size
        rank, world = rank_and_world()
        if rank:  # the order is the same everywhere, the augmentation is not
            torch.manual_seed(self.seed * 1_000_003 + number + rank * 500_009)
        total_loss = torch.zeros((), device=self.device)
        total_right = torch.zeros((), device=self.device)
        for i in range(batches):
            chosen = order[i * self.recipe.batch_size : (i + 1) * self.recipe.batch_size]
            chosen = chosen[rank::world]
            loss, right = self._train_batch(chosen, view)
            total_loss += loss
            total_right += right
            if i % 50 == 0 and not torch.isfinite(total_loss):
                self._refuse_nan(number, i)
            tick(i + 1, batches)
        total_loss, total_right = average(total_loss), average(total_right) * world
        if not torch.isfinite(total_loss):
            self._refuse_nan(number, batches - 1)
        return total_loss.item() / batches, total_right.item() / (batches * self.recipe.batch_size)

    def _train_batch(self, chosen: Tensor, view: View | None) -> tuple[Tensor, Tensor]:
        labels, settings = self.labels[chosen], self.recipe.augmentation
        strangers = draw_outliers(round(settings.outliers * len(labels)), self.images[chosen].float())
        if view is None:
            images, photographed = augment(self.images[chosen], labels if self.fashion else None, settings)
        else:
            images, photographed = view.images[chosen].float(), torch.zeros_like(labels, dtype=torch.bool)
        targets = labels
        if self.recipe.targets != "indices":
            targets = F.one_hot(labels, len(self.about["labels"])).float()
        if self.recipe.targets == "soft":
            images, targets = mix_pairs(images, targets, self.recipe.mix)
        parts = [images, strangers]
        if self.sampler is not None:
            share = self.recipe.photo_share
            photos, answers = self.sampler.draw(round(len(labels) * share / (1 - share)))
            parts.append(photos)
        images = torch.cat(parts).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.mixed_precision):
            logits = self.spread(images).float()
            told = self.teacher(chosen, images[: len(labels)], photographed) if self.teacher is not None else None
        if view is not None:
            told = view.logits[chosen], ~photographed
        logits, unsure, of_photos = logits.tensor_split([len(labels), len(labels) + len(strangers)])
        loss = self.loss(logits, targets) if told is None else self._taught_loss(logits, targets, *told)
        if len(strangers):
            loss = loss + OUTLIER_WEIGHT * uniform_loss(unsure)
        if len(of_photos):
            loss = torch.lerp(loss, photo_loss(of_photos, answers), share)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimiser.step()
        self.schedule.after_step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.detach(), (logits.argmax(1) == labels).sum()

    def _taught_loss(self, logits: Tensor, targets: Tensor, answers: Tensor, taught: Tensor) -> Tensor:
        """Labels alone where no teacher answered, else the teachers' answers with the recipe's weight beside them."""
        share, loss = taught.float().mean(), logits.new_zeros(())
        if share > 0:
            told = distillation_loss(logits[taught], answers, self.recipe.temperature)
            loss = share * torch.lerp(self.loss(logits[taught], targets[taught]), told, self.recipe.distillation)
        if share < 1:
            loss = loss + (1 - share) * self.loss(logits[~taught], targets[~taught])
        return loss

    def _validate(self) -> tuple[float | None, float | None]:
        if not len(self.validation):
            return None, None
        logits = torch.from_numpy(predict_logits(self.shipped_model(), self.validation.images))
        labels = torch.from_numpy(self.validation.labels)
        return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).double().mean().item()

    def _validate_photos(self) -> tuple[float | None, float | None]:
        """Accuracy on validation photos, over all their views: the share of photos, and the mean of the kinds."""
        if self.photos is None:
            return None, None
        return validate_photos(self.shipped_model(), self.photos.validation)

    @property
    def best_name(self) -> str:
        """File name of the best epoch's checkpoint; ``best`` is then an average of it and the first weights, if any."""
        return "fine-tuned" if self.recipe.weight_shares else "best"

    def write_averaged(self) -> None:
        """Write ``best``: the average of the first and the fine-tuned weights with the share that validation chooses."""
        if not self.recipe.weight_shares or self.start is None or self.photos is None:
            return
        end = load_checkpoint(self.folder / f"{self.best_name}.safetensors")
        averaged, found = choose_average(self.start, end, self.recipe, self.validation, self.photos.validation)
        save_checkpoint(self.folder / "best", averaged, {**end.info, **found})

    def _refuse_nan(self, epoch: int, step: int) -> None:
        raise TrainingError(
            f"the loss is no number any more at epoch {epoch}, by step {step + 1}; lower --learning-rate "
            "or set --gradient-clip 1; the checkpoints of the epochs before are kept"
        )

    # -- what chooses the best epoch --------------------------------------------------------------------------------

    def shipped_model(self) -> nn.Module:
        """The network that is validated and saved: the average where the recipe keeps one."""
        return self.model if self.average is None else self.average.module

    def _monitored(self, epoch: Epoch) -> float:
        """The figure that chooses, larger being better; without validation the last epoch wins."""
        if epoch.validation_accuracy is None or epoch.validation_loss is None or self.recipe.monitor == "last":
            return float(epoch.epoch)
        if self.recipe.monitor == "photos" and epoch.photo_accuracy is not None:
            return (epoch.validation_accuracy + epoch.photo_accuracy) / 2
        return -epoch.validation_loss if self.recipe.monitor == "loss" else epoch.validation_accuracy

    def best_epoch(self) -> int | None:
        """Number of the best epoch so far; the first of equals."""
        return max(self.history, key=lambda e: (self._monitored(e), -e.epoch)).epoch if self.history else None

    def exhausted(self) -> bool:
        """Whether early stopping applies: ``patience`` epochs without progress of at least ``min_delta``."""
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
        """What a checkpoint of this moment says about itself."""
        last = self.history[-1]
        return {
            **self.about,
            "model": self.model_info,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "epoch": last.epoch,
            "validation": {"accuracy": last.validation_accuracy, "loss": last.validation_loss},
        }

    def resume(self) -> None:
        """Go back to the last finished epoch in the run's folder.

        Raises:
            CheckpointError: there is none, or it belongs to another recipe, seed or data set.
        """
        restore_state(self, self.folder / "last.safetensors")
