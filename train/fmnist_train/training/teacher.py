"""Distillation: training a small network on the outputs of better ones, beside the labels.

The method is that of Hinton, Vinyals and Dean (2015, arXiv:1503.02531). Teachers get the same views as the student, so their
logits reflect how clear each view is (Beyer et al. 2022, arXiv:2106.05237). ``ViewTeacher`` computes the logits of views at
each step. ``StoredViews`` computes them once, for views that all students share. For images changed by ``photo``, only
teachers trained with ``photo`` are used.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.errors import CheckpointError, ConfigError, printable, reason_of
from fmnist_train.augmentation.augment import augment
from fmnist_train.checkpoint import FORMAT, Checkpoint, is_finished, load_checkpoint, read_tensors, write_tensors
from fmnist_train.data.splits import arrays_sha256
from fmnist_train.recipes import DEFAULT_RECIPE, Recipe, current_name
from fmnist_train.training.device import autocast

__all__ = [
    "StoredViews",
    "View",
    "ViewTeacher",
    "distillation_loss",
    "find_photo_teachers",
    "find_start",
    "find_teachers",
]

logger = logging.getLogger(__name__)

_VIEW_SEED = 5_000_011
"""Seed of view 0; the seed of view ``n`` is larger by ``n``. It differs from the seeds of epochs, so draws differ, too."""
_VIEW_BATCH = 5000
"""Number of images changed at a time, which bounds memory. Another value would change the random draws."""
_TEACHER_BATCH = 250
"""Number of images in one call of the teachers: so few that activations stay in the processor's cache."""


class ViewTeacher:
    """Mean logits of the teachers for each view; the teachers' weights stay unchanged."""

    def __init__(self, checkpoints: Sequence[Checkpoint], device: torch.device) -> None:
        self.networks = nn.ModuleList(checkpoint.model for checkpoint in checkpoints).requires_grad_(False)
        self.networks.eval().to(device)
        self._trained_on_photographs = [_learned_photographs(checkpoint) for checkpoint in checkpoints]

    @torch.no_grad()
    def __call__(self, views: Tensor, photographed: Tensor) -> tuple[Tensor, Tensor]:
        """Computes, for each view, the mean logits of the teachers trained on such images.

        Args:
            views: Changed images, float or uint8 ``[N, 1, 28, 28]`` in 0..255.
            photographed: Mask of the views that ``photo`` changed, bool ``[N]``.

        Returns:
            Logits, float ``[M, classes]``, of the M views that at least one teacher is trained for; and a mask of these views,
            bool ``[N]``.
        """
        total, count = 0, torch.zeros(len(views), 1, device=views.device)
        for network, learned in zip(self.networks, self._trained_on_photographs, strict=True):
            known = torch.ones_like(photographed) if learned else ~photographed
            logits = network(views[known]).float()
            total = total + logits.new_zeros(len(views), logits.shape[1]).index_put((known,), logits)
            count += known.unsqueeze(1)
        has_teacher = count.squeeze(1) > 0
        return (total / count)[has_teacher], has_teacher


@dataclass(frozen=True)
class View:
    """One changed copy of the training set."""

    images: Tensor
    """uint8 ``[N, 1, 28, 28]``, in the order of the training images."""
    logits: Tensor
    """Mean of the teachers' logits, float32 ``[N, classes]``."""


class StoredViews:
    """Changed copies of the training set, drawn once, with the teachers' logits.

    The random draws of a view depend on its number alone. So all students with the same augmentation get the same views. The
    teachers' logits are computed once and stored on disk, which saves time if the teachers are larger than the student.

    Args:
        recipe: Recipe whose ``augmentation`` changes the images.
        checkpoints: Teachers, at least one.
        images: uint8 ``[N, 1, 28, 28]``.
        folder: Folder of the stored logits, one file for each view.
        mixed_precision: Whether logits are computed in bfloat16 if the processor supports it.
    """

    def __init__(
        self,
        recipe: Recipe,
        checkpoints: Sequence[Checkpoint],
        images: Tensor,
        folder: Path,
        *,
        mixed_precision: bool,
    ) -> None:
        self.images, self.folder = images, folder
        self.augmentation = dataclasses.replace(recipe.augmentation, photo=0.0, outliers=0.0)
        self.mixed_precision = mixed_precision
        self.teachers = ViewTeacher(checkpoints, images.device)
        self._unwritten: dict[int, Tensor] = {}
        self._shape = (len(images), len(checkpoints[0].info["labels"]))
        identity = {
            "teachers": [checkpoint.sha256 for checkpoint in checkpoints],
            "images": arrays_sha256(images.cpu().numpy()),
            "augmentation": dataclasses.asdict(self.augmentation),
            "bfloat16": mixed_precision,
            "torch": torch.__version__,
        }
        self.key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def load(self, number: int) -> View:
        """Draws view ``number`` (from 0) again, and reads or computes its logits."""
        torch.manual_seed(_VIEW_SEED + number)
        parts = [augment(part, None, self.augmentation)[0] for part in torch.split(self.images, _VIEW_BATCH)]
        images = torch.cat([part.round().to(torch.uint8) for part in parts])
        path = self.folder / f"{self.key}-{number}.safetensors"
        logits = self._unwritten.get(number)
        if logits is None:
            logits = self._read(path)
        if logits is None:
            logits = torch.cat([self._teacher_logits(part) for part in torch.split(images, _TEACHER_BATCH)])
            try:
                write_tensors(path, {"logits": logits}, {"format": FORMAT, "view": number})
            except OSError as error:  # a user without a home folder, or a full disk: the next run computes them again
                if not self._unwritten:
                    reason = f"{error.filename or path}: {reason_of(error)}"
                    logger.warning("the teachers' outputs are not kept for the next run (%s)", printable(reason))
                self._unwritten[number] = logits
        return View(images, logits.to(images.device))

    def _read(self, path: Path) -> Tensor | None:
        """Returns stored logits; None if there are none, or the file is damaged."""
        with suppress(CheckpointError, KeyError):
            logits = read_tensors(path)[0]["logits"] if path.is_file() else None
            if logits is not None and logits.shape == self._shape and logits.is_floating_point():
                return logits
        return None

    def _teacher_logits(self, images: Tensor) -> Tensor:
        photographed = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        inputs = images.contiguous(memory_format=torch.channels_last)
        with autocast(images.device, self.mixed_precision):
            return self.teachers(inputs, photographed)[0].float()


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Returns the Kullback-Leibler divergence of the student's from the teacher's softened probabilities, a scalar.

    The factor ``temperature²`` keeps the gradients as large as those of the cross-entropy with the labels.

    Args:
        logits: Logits of the student, float ``[N, classes]``.
        teacher_logits: Logits of the teacher, float ``[N, classes]``.
        temperature: Divisor of both, over 0.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _learned_photographs(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint.info["recipe"]["augmentation"].get("photo", 0) > 0)


def find_start(recipe: Recipe, named: Path | None, labels: Sequence[str]) -> Checkpoint | None:
    """Returns the checkpoint of the first weights: ``named``, or else that of the recipe's ``start``; None: random weights.

    Raises:
        ConfigError: The checkpoint was trained on other classes, or a recipe with photos has no first weights.
        CheckpointError: There is no such checkpoint.
    """
    if named is None and not recipe.start:
        if recipe.photo_share:
            raise ConfigError(
                f"photos are for fine-tuning, and recipe '{recipe.name}' starts from random weights: name a finished run "
                "with --start, or take a recipe with first weights, such as improved-photos"
            )
        return None
    checkpoint = load_checkpoint(named or _find(recipe.start, "--start"))
    if list(checkpoint.info["labels"]) != list(labels):
        raise ConfigError(f"{checkpoint.path} was trained on other classes; name another with --start")
    return checkpoint


def find_teachers(
    recipe: Recipe, named: Sequence[Path], labels: Sequence[str], start: Checkpoint | None = None
) -> list[Checkpoint]:
    """Returns the teachers of a recipe: ``named``, else the checkpoints of the recipes that its ``teacher`` lists.

    Raises:
        ConfigError: Teachers are named but have no weight in the recipe, or the other way round, or one was trained on other
            classes.
        CheckpointError: There is no such checkpoint.
    """
    if not recipe.distillation:
        if named:
            raise ConfigError(
                f"recipe '{recipe.name}' gives teachers no weight: set --distillation 0.5, or leave them out"
            )
        return []
    if not named and not recipe.teacher:
        if start is None:
            raise ConfigError(
                f"recipe '{recipe.name}' names no teacher: name one with --teacher, or set --distillation 0"
            )
        return [load_checkpoint(start.path)]  # a copy: training changes the other
    places = named or [_find(name, "--teacher") for name in recipe.teacher.split(",")]
    checkpoints = [load_checkpoint(path) for path in places]
    _check_classes(checkpoints, labels, "--teacher")
    return checkpoints


def find_photo_teachers(recipe: Recipe, named: Sequence[Path], labels: Sequence[str]) -> list[Checkpoint]:
    """Returns the teachers of photos: ``named``, else the checkpoints of the recipes in ``photo_teacher``.

    Raises:
        ConfigError: The recipe needs photo teachers and none are named, or they are named but have no weight in the recipe, or
            one was trained on other classes.
        CheckpointError: There is no such checkpoint.
    """
    names = [name for name in recipe.photo_teacher.split(",") if name]
    if not recipe.photo_distillation:
        if named:
            raise ConfigError(
                f"recipe '{recipe.name}' gives photo teachers no weight: set --photo-distillation 0.5, or leave them out"
            )
        return []
    if not named and not names:
        raise ConfigError("--photo-distillation weighs the answers of photo teachers: name one with --photo-teacher")
    checkpoints = [load_checkpoint(path) for path in named or [_find(name, "--photo-teacher") for name in names]]
    _check_classes(checkpoints, labels, "--photo-teacher")
    return checkpoints


def _check_classes(checkpoints: Sequence[Checkpoint], labels: Sequence[str], option: str) -> None:
    for checkpoint in checkpoints:
        if list(checkpoint.info["labels"]) != list(labels):
            raise ConfigError(f"the teacher {checkpoint.path} was trained on other classes; name another with {option}")


def _find(name: str, option: str) -> Path:
    """Returns the folder of a recipe's finished run, or of its checkpoint in this repository; ``option`` names another.

    ``artifacts/first-phase`` has the first phase of networks that ship after a second one; ``artifacts/teachers`` has networks
    that do not ship.
    """
    name = current_name(name)
    run = Path("runs") / f"{name}-seed0"
    kept = Path("artifacts") / name
    for place in (run, kept.parent / "first-phase" / name, kept.parent / "teachers" / name, kept):
        if (place / "best.safetensors").is_file() and (place != run or is_finished(run)):
            return place
    raise CheckpointError(
        f"no finished run of '{name}' is in {run} or {kept}: start in the "
        f"project's folder, which holds it, or train '{name}' on the same data and name its folder with {option}; "
        f"'{DEFAULT_RECIPE}' needs no other run"
    )
