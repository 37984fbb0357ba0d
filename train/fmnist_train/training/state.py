"""State of a run in one file, from which a killed run is resumed after its last finished epoch.

One safetensors file contains the weights, their average and the optimizer's moments. Its header contains the rest: recipe,
history, parameter groups, schedule. Random states are not saved, because each epoch has its own seed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_runtime.errors import MALFORMED, CheckpointError, ConfigError, FmnistError
from fmnist_train.checkpoint import FORMAT, read_tensors, write_tensors
from fmnist_train.recipes import recipe_from_dict
from fmnist_train.training.optim import Schedule

__all__ = ["Epoch", "TrainingState"]

_OPTIMIZER = "optimiser"
"""Prefix of the optimizer's tensors in the file, as the first version spelled it."""


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch; one row of the history."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    photo_accuracy: float | None = None
    """Share of validation photos answered correctly; None without photos."""
    photo_class_mean: float | None = None
    """Mean of that share over the sets of accepted answers."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Parts of a run that change during training."""

    model: nn.Module
    """Network that is trained."""
    average: nn.Module | None
    """Network with the moving average of the weights; None if the recipe has none."""
    optimizer: torch.optim.Optimizer
    """Optimizer of the network's parameters."""
    schedule: Schedule
    """Learning-rate schedule of the optimizer."""

    def save(self, path: Path, info: Mapping[str, Any], history: Sequence[Epoch]) -> None:
        """Writes everything that ``restore`` needs, atomically; ``info`` describes the run."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, slots in optimizer["state"].items():
            tensors |= {f"{_OPTIMIZER}.{index}.{name}": tensor for name, tensor in slots.items() if tensor is not None}
        content = {
            "format": FORMAT,
            **info,
            "history": [dataclasses.asdict(epoch) for epoch in history],
            "param_groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
        }
        write_tensors(path, tensors, content)

    def restore(self, path: Path, identity: Mapping[str, Any]) -> list[Epoch]:
        """Loads the state that ``save`` wrote, and returns the history.

        Args:
            path: The file.
            identity: Properties that the file and this run must have in common, by their names in messages.

        Raises:
            CheckpointError: There is no such file, or its state is incomplete.
            ConfigError: It belongs to another recipe, seed or data set.
        """
        if not path.is_file():
            raise CheckpointError(f"{path.parent}: no run to resume here; start it without --resume")
        tensors, info = read_tensors(path)
        try:
            _refuse_another_run(path, info, identity)
            return self._load(tensors, info)
        except (*MALFORMED, RuntimeError) as error:
            if isinstance(error, FmnistError):
                raise
            fault = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(f"{path}: not the state of a run, which --resume needs ({fault})") from error

    def _load(self, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> list[Epoch]:
        """Loads the content of a file, and returns the history."""
        self.model.load_state_dict(_part(tensors, "model"))
        if self.average is not None:
            self.average.load_state_dict(_part(tensors, "average"))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, _OPTIMIZER).items():
            index, _, slot = name.partition(".")
            slots.setdefault(int(index), {})[slot] = tensor
        self.optimizer.load_state_dict({"state": slots, "param_groups": info["param_groups"]})
        self.schedule.load_state_dict(info["schedule"])
        return [Epoch(**row) for row in info["history"]]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): t for name, t in tensors.items() if name.startswith(prefix + ".")}


def _refuse_another_run(path: Path, info: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    # Fields that a stored recipe lacks have their defaults; descriptions of older runs name neither data nor photos.
    stored = {**info, "recipe": recipe_from_dict(info["recipe"]).to_dict(), "classes": info["labels"]}
    stored |= {"data": info.get("data_sha256", identity["data"]), "teacher": info.get("teachers")}
    stored["photos"] = info.get("photos_sha256")
    for name, current in identity.items():
        before, current = _as_json(stored.get(name)), _as_json(current)
        if before == current:
            continue
        if name == "data":
            raise ConfigError(f"{path.parent}: this run was started with other images: give another --output for these")
        raise ConfigError(
            f"{path.parent}: this run was started with another {name} ({_difference(before, current)}); "
            "resume with the same options, or give another --output"
        )


def _as_json(value: Any) -> Any:
    """Returns the value as JSON would: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, current: Any) -> str:
    if isinstance(before, dict) and isinstance(current, dict):
        changed = [key for key in current if before.get(key) != current[key]]
        return ", ".join(f"{key}: {before.get(key)} then, {current[key]} now" for key in changed)
    return f"{before} then, {current} now"
