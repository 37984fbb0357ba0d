"""One training step: assemble a batch, compute the loss, update the weights and their average."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from fmnist_train.augmentation.augment import augment
from fmnist_train.augmentation.outliers import OUTLIER_WEIGHT, draw_outliers, uniform_loss
from fmnist_train.augmentation.photo import as_photographed
from fmnist_train.recipes import Recipe
from fmnist_train.training.device import autocast
from fmnist_train.training.loss import Loss, mix_pairs
from fmnist_train.training.photos import PhotoBatch, PhotoSampler, photo_loss, photos_in_batch
from fmnist_train.training.state import TrainingState
from fmnist_train.training.teacher import View, ViewTeacher, distillation_loss

__all__ = ["TrainingImages", "TrainingStep"]


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The training images of the data set, on the device."""

    images: Tensor
    """uint8 ``[N, 1, 28, 28]``."""
    labels: Tensor
    """int64 ``[N]``."""
    classes: int
    """Number of classes."""
    fashion: bool
    """Whether the classes are those of Fashion-MNIST."""


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """Everything that a step uses, except the positions of its images and the stored view of the epoch."""

    recipe: Recipe
    data: TrainingImages
    state: TrainingState
    network: nn.Module
    """Network that is called, wrapped by DDP if several processes train."""
    loss: Loss
    teacher: ViewTeacher | None
    photo_teacher: ViewTeacher | None
    """Teacher for images in stored views that were replaced by imitated photos."""
    sampler: PhotoSampler | None
    mixed_precision: bool

    def __call__(self, chosen: Tensor, view: View | None) -> tuple[Tensor, Tensor]:
        """Trains on the images at these positions.

        Args:
            chosen: int64 ``[N]``.
            view: Stored view of this epoch; None for recipes without stored views.

        Returns:
            The loss, and the number of correctly classified images; scalars on the device.
        """
        labels, outliers = self.data.labels[chosen], self._draw_outliers(chosen)
        images, targets, photographed = self._change(chosen, view)
        photos = self._draw_photos(len(labels))
        shown = [images, outliers] if photos is None else [images, outliers, photos.images]
        inputs = torch.cat(shown).contiguous(memory_format=torch.channels_last)
        with autocast(inputs.device, self.mixed_precision):
            logits = self.network(inputs).float()
            teaching = self._teacher_logits(chosen, inputs[: len(labels)], photographed, view)
        of_images, of_outliers, of_photos = logits.tensor_split([len(labels), len(labels) + len(outliers)])
        loss = self.loss(of_images, targets) if teaching is None else self._distill(of_images, targets, *teaching)
        if len(outliers):
            loss = loss + OUTLIER_WEIGHT * uniform_loss(of_outliers)
        if photos is not None:
            loss = torch.lerp(loss, self._photo_loss(of_photos, photos), self.recipe.photo_share)
        self._update(loss)
        return loss.detach(), (of_images.argmax(1) == labels).sum()

    def _draw_outliers(self, chosen: Tensor) -> Tensor:
        count = round(self.recipe.augmentation.outliers * len(chosen))
        return draw_outliers(count, self.data.images[chosen].float())

    def _change(self, chosen: Tensor, view: View | None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the changed images, their targets, and a mask of imitated photos, bool ``[N]``."""
        labels, recipe = self.data.labels[chosen], self.recipe
        if view is None:
            known = labels if self.data.fashion else None
            images, photographed = augment(self.data.images[chosen], known, recipe.augmentation)
        else:
            images, photographed = self._photograph(view.images[chosen].float(), chosen)
        targets = labels if recipe.targets == "indices" else F.one_hot(labels, self.data.classes).float()
        if recipe.targets == "soft":
            images, targets = mix_pairs(images, targets, recipe.mix)
        return images, targets, photographed

    def _photograph(self, images: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Replaces a share of a stored view by imitated photos, which have labels but no stored teacher logits."""
        share, labels = self.recipe.augmentation.photo, self.data.labels[chosen]
        photographed = torch.rand(len(images), device=images.device) < share
        if not photographed.any():
            return images, photographed
        known = labels[photographed] if self.data.fashion else None
        changed = as_photographed(self.data.images[chosen][photographed].float(), known)
        return images.index_put((photographed,), changed), photographed

    def _teacher_logits(
        self, chosen: Tensor, images: Tensor, photographed: Tensor, view: View | None
    ) -> tuple[Tensor, Tensor] | None:
        """Returns the teachers' logits, float ``[M, classes]``, and a mask of these M images, bool ``[N]``; or None.

        There are none without a teacher and without a stored view.
        """
        if view is None:
            return None if self.teacher is None else self.teacher(images, photographed)
        logits, has_teacher = view.logits[chosen], ~photographed
        if self.photo_teacher is not None and photographed.any():
            positions = photographed.nonzero().squeeze(1)
            of_photos = self.photo_teacher(images[positions], photographed[positions])[0]
            logits, has_teacher = logits.index_copy(0, positions, of_photos), torch.ones_like(has_teacher)
        return logits[has_teacher], has_teacher

    def _draw_photos(self, images: int) -> PhotoBatch | None:
        return None if self.sampler is None else self.sampler.draw(photos_in_batch(self.recipe.photo_share, images))

    def _photo_loss(self, logits: Tensor, photos: PhotoBatch) -> Tensor:
        loss = photo_loss(logits, photos.answers)
        if photos.teacher_logits is None:
            return loss
        divergence = distillation_loss(logits, photos.teacher_logits, self.recipe.temperature)
        return torch.lerp(loss, divergence, self.recipe.photo_distillation)

    def _distill(self, logits: Tensor, targets: Tensor, teacher_logits: Tensor, has_teacher: Tensor) -> Tensor:
        """Returns the loss with distillation, a scalar.

        For images with teacher logits it is the weighted mean of the teacher and label terms, for all others the label term.

        Args:
            logits: Logits of the network, float ``[N, classes]``.
            targets: See ``Loss.forward``.
            teacher_logits: float ``[M, classes]``.
            has_teacher: Mask of the M images with teacher logits, bool ``[N]``.
        """
        share, loss = has_teacher.float().mean(), logits.new_zeros(())
        if share > 0:
            divergence = distillation_loss(logits[has_teacher], teacher_logits, self.recipe.temperature)
            by_labels = self.loss(logits[has_teacher], targets[has_teacher])
            loss = share * torch.lerp(by_labels, divergence, self.recipe.distillation)
        if share < 1:
            loss = loss + (1 - share) * self.loss(logits[~has_teacher], targets[~has_teacher])
        return loss

    def _update(self, loss: Tensor) -> None:
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.state.model.parameters(), self.recipe.gradient_clip)
        self.state.optimizer.step()
        self.state.schedule.after_step()
        if isinstance(self.state.average, AveragedModel):
            self.state.average.update_parameters(self.state.model)
