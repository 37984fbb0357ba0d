"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from fmnist_train.recipes import Recipe

__all__ = ["Muon", "Schedule", "make_optimizer", "orthogonalize"]

_MOMENTUM = 0.95
"""Momentum of Muon, as its authors chose it."""
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵ in a step of the iteration, by Muon's authors: singular values come near 1 fast, not exactly."""
_NEWTON_SCHULZ_STEPS = 5
"""After so many steps, singular values are between 0.7 and 1.2."""
_ADAMW_RMS = 0.2
"""Usual root mean square of AdamW's updates, divided by the learning rate (Liu et al. 2025, arXiv:2502.16982)."""


class Muon(torch.optim.AdamW):
    """AdamW, with orthogonalized momentum as the update in groups that have ``orthogonal`` set.

    The method is that of Jordan et al. (2024, https://kellerjordan.github.io/posts/muon/). A weight is a matrix here: output
    channels, and all else. Updates have the size of AdamW's, so its learning rates and weight decays apply.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no training step here needs a closure
        """Updates all parameters. The gradients of orthogonal groups are removed."""
        for group in self.param_groups:
            for weight in group["params"] if group.get("orthogonal") else ():
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["weight_decay"])
                    weight.grad = None  # AdamW leaves parameters without a gradient unchanged
        super().step()

    def _update(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {
                "momentum": torch.zeros_like(weight),
                "step": torch.zeros(()),
            }  # AdamW expects a step when it loads
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        direction = gradient.lerp(momentum, _MOMENTUM)  # Nesterov's
        matrix = direction.flatten(1)
        size = _ADAMW_RMS * math.sqrt(max(matrix.shape))
        weight.mul_(1 - rate * decay).sub_(orthogonalize(matrix).view_as(direction), alpha=rate * size)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Returns the matrix with all singular values near 1, float ``[M, N]``; singular vectors stay as they are."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalize(matrix.t()).t()
    linear, cubic, quintic = _NEWTON_SCHULZ
    result: Tensor = matrix / matrix.norm().clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = result @ result.T
        result = linear * result + (cubic * square + quintic * square @ square) @ result
    return result


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the recipe's optimizer.

    With AdamW and Muon, biases and batch norm have no weight decay, as is usual. Muon orthogonalizes the updates of all weights
    but those of the last layer.
    """
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    decayed = [p for p in model.parameters() if p.ndim > 1]
    undecayed = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    if recipe.optimizer == "muon":
        hidden = {"params": decayed[:-1], "weight_decay": recipe.weight_decay, "orthogonal": True}
        return Muon([hidden, {**groups[0], "params": decayed[-1:]}, groups[1]], lr=recipe.learning_rate)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


class Schedule:
    """Learning-rate schedule; its kind determines whether it changes after each step or after each epoch."""

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> None:
        self._kind = recipe.scheduler
        self._by_step = recipe.scheduler in ("cosine", "one-cycle")
        self._scheduler = _SCHEDULERS[recipe.scheduler](optimizer, recipe, recipe.epochs * steps_per_epoch)

    def after_step(self) -> None:
        """Updates the rate after an optimizer step."""
        if self._by_step:
            self._scheduler.step()

    def after_epoch(self, monitored: float) -> None:
        """Updates the rate after an epoch; ``monitored`` is a figure that grows with quality."""
        if self._kind == "plateau":
            self._scheduler.step(monitored)  # type: ignore[arg-type]  # ReduceLROnPlateau takes a metric
        elif not self._by_step:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready state."""
        return {k: v for k, v in self._scheduler.state_dict().items() if not callable(v)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self._scheduler.load_state_dict(state)


def _plateau(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=recipe.scheduler_factor, patience=recipe.scheduler_patience
    )


def _step(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.StepLR(optimizer, recipe.scheduler_step, recipe.scheduler_factor)


def _one_cycle(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    # One step more than the training has, because the loop also reads the rate after the last step.
    return lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps + 1)


def _cosine(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    warmup = max(1, round(recipe.warmup * steps))

    def factor(step: int) -> float:
        if step < warmup and recipe.warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return lr_scheduler.LambdaLR(optimizer, factor)


def _constant(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)


_SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer, Recipe, int], lr_scheduler.LRScheduler]] = {
    "plateau": _plateau,
    "step": _step,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "none": _constant,
}
