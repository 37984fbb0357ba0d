"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from fmnist_train.recipes import Recipe

__all__ = ["Schedule", "make_optimizer"]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the recipe's optimizer. With AdamW, biases and batch norm have no weight decay, as is usual."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    decayed = [p for p in model.parameters() if p.ndim > 1]
    undecayed = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
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
