"""Distillation: a small network learns from the answers of better ones, beside the labels.

The teachers see the very pictures that the pupil sees, with the same augmentation, so there is nothing to store and their
doubts about a picture that lost its sleeves are taught, too (Hinton, Vinyals, Dean 2015, arXiv:1503.02531; Beyer et al.
2022, arXiv:2106.05237, on the same view for both). Made-up photographs are left to those teachers that learnt from some.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import Checkpoint, is_finished, load_checkpoint
from fmnist_train.recipes import Recipe

__all__ = ["Teacher", "distillation_loss", "find_teachers"]


class Teacher(nn.Module):
    """One or several trained networks; their logits are averaged. They never change."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(checkpoint.model for checkpoint in checkpoints)
        self.knows_photographs = [_learnt_photographs(checkpoint) for checkpoint in checkpoints]
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Tensor, photographed: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels ``[N, 1, 28, 28]`` and which are photographs, boolean ``[N]``, to logits and who was taught.

        Returns:
            ``[M, classes]`` of the images that some teacher knows, and which those are: boolean ``[N]``, M of them true.
        """
        total, count = 0, torch.zeros(len(images), 1, device=images.device)
        for network, all_of_them in zip(self.networks, self.knows_photographs, strict=True):
            known = torch.ones_like(photographed) if all_of_them else ~photographed
            logits = network(images[known]).float()
            total = total + logits.new_zeros(len(images), logits.shape[1]).index_put((known,), logits)
            count += known.unsqueeze(1)
        taught = count.squeeze(1) > 0
        return (total / count)[taught], taught


def distillation_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the pupil's from the teacher's probabilities, both softened; a scalar.

    The factor ``temperature²`` keeps the gradients as large as those of the labels' cross-entropy.
    """
    pupil, teacher = F.log_softmax(logits / temperature, dim=1), F.log_softmax(taught / temperature, dim=1)
    return temperature**2 * F.kl_div(pupil, teacher, reduction="batchmean", log_target=True)


def _learnt_photographs(checkpoint: Checkpoint) -> bool:
    return checkpoint.info["recipe"]["augmentation"].get("photo", 0) > 0


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
