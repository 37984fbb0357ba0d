"""The loss of a recipe: cross-entropy with smoothing, class weights, and targets as indices, one-hot or soft rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.errors import ConfigError
from fmnist_train.recipes import Recipe

__all__ = ["Loss", "mix_pairs"]


class Loss(nn.Module):
    """Cross-entropy with the settings of a recipe.

    Raises:
        ConfigError: There are not as many class weights as classes.
    """

    weights: Tensor | None
    """Weight of each class, float ``[classes]``; None: equal weights."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        super().__init__()
        if recipe.class_weights and len(recipe.class_weights) != classes:
            raise ConfigError(
                f"{len(recipe.class_weights)} class weights for {classes} classes; give one for each class"
            )
        self.smoothing = recipe.label_smoothing
        self.register_buffer("weights", torch.tensor(recipe.class_weights) if recipe.class_weights else None)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of ``[N, classes]`` logits and int64 ``[N]`` or float ``[N, classes]`` targets; a scalar."""
        return F.cross_entropy(logits, targets, self.weights, label_smoothing=self.smoothing)


def mix_pairs(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixes each image and its row of targets with those of another image (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Args:
        images: float ``[N, 1, H, W]``.
        targets: float ``[N, classes]``.
        alpha: Both parameters of the beta distribution of the shares; with small values most images stay nearly unmixed.

    Returns:
        Mixed images and targets, in the shapes of the arguments.
    """
    share = torch.distributions.Beta(alpha, alpha).sample((len(images),)).to(images.device)
    other = torch.randperm(len(images), device=images.device)
    return (
        torch.lerp(images[other], images, share.view(-1, 1, 1, 1)),
        torch.lerp(targets[other], targets, share.view(-1, 1)),
    )
