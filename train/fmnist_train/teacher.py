"""Distillation: a small network learns from the answers of better ones, beside the labels.

The teachers answer once, before training, on the images as they are; the pupil learns the same answer for every changed
view of an image (Hinton, Vinyals, Dean 2015, arXiv:1503.02531). That costs a pass or two over the data in place of one in
every epoch, so several teachers are affordable; and teachers that have never seen a photograph still say how sure one can
be of the garment that is photographed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import Checkpoint, is_finished, load_checkpoint
from fmnist_train.evaluate import predict_logits
from fmnist_train.recipes import Recipe

__all__ = ["distillation_loss", "find_teachers", "teachers_answers"]


def teachers_answers(
    checkpoints: Sequence[Checkpoint], images: np.ndarray, device: torch.device, *, mirrored: bool
) -> Tensor:
    """The mean of the teachers' logits for every image.

    Args:
        checkpoints: the teachers, at least one.
        images: uint8 ``[N, 28, 28]``.
        device: where they are asked, and where the answers lie.
        mirrored: ask for the mirror images, too, which is right where the pupil sees such.

    Returns:
        float32 ``[N, classes]``.
    """
    views = [images, images[..., ::-1]] if mirrored else [images]
    answers = [predict_logits(teacher.model.to(device), view) for teacher in checkpoints for view in views]
    return torch.from_numpy(np.mean(answers, axis=0)).to(device)


def distillation_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the pupil's from the teacher's probabilities, both softened; a scalar.

    The factor ``temperature²`` keeps the gradients as large as those of the labels' cross-entropy.
    """
    pupil, teacher = F.log_softmax(logits / temperature, dim=1), F.log_softmax(taught / temperature, dim=1)
    return temperature**2 * F.kl_div(pupil, teacher, reduction="batchmean", log_target=True)


def find_teachers(recipe: Recipe, named: Sequence[Path], labels: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that teach a recipe: those that were named, else those of the recipes that its ``teacher`` lists.

    Raises:
        ConfigError: teachers were named for a recipe that gives them no weight, or one knows other classes.
        CheckpointError: there is none.
    """
    if not recipe.distillation:
        if named:
            raise ConfigError(
                f"recipe '{recipe.name}' does not listen to teachers: set --distillation 0.5, or leave them out"
            )
        return []
    checkpoints = [load_checkpoint(path) for path in named or map(_find, recipe.teacher.split(","))]
    for checkpoint in checkpoints:
        if list(checkpoint.info["labels"]) != list(labels):
            raise ConfigError(f"the teacher {checkpoint.path} knows other classes; name another with --teacher")
    return checkpoints


def _find(name: str) -> Path:
    """The folder of a recipe's finished run, or of its checkpoint in this repository."""
    run = Path("runs") / f"{name}-seed0"
    kept = Path("artifacts") / name
    for place in (run, kept):
        if (place / "best.safetensors").is_file() and (place != run or is_finished(run)):
            return place
    raise CheckpointError(
        f"a finished run of '{name}' is to teach, and none is in {run} or {kept}: start in the "
        f"project's folder, which holds it, or run 'fmnist-train --recipe {name}', or name a folder with --teacher"
    )
