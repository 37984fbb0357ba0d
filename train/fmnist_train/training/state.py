"""The whole state of a run in one file, so that a run killed at any moment goes on where its last epoch ended.

One safetensors file holds the weights, their average and the optimiser's moments; its header holds everything that is no
tensor: recipe, history, parameter groups, the schedule. Random states need no saving, since each epoch seeds its own.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fmnist_runtime.errors import CheckpointError
from fmnist_train.checkpoint import FORMAT, read_tensors, write_tensors
from fmnist_train.recipes import recipe_from_dict

if TYPE_CHECKING:
    from fmnist_train.training.loop import Training

__all__ = ["Epoch", "restore_state", "save_state"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; one row of the history."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    photo_accuracy: float | None = None
    photo_class_mean: float | None = None


def save_state(training: "Training", path: Path) -> None:
    """Write everything that ``restore_state`` needs, atomically."""
    optimiser = training.optimiser.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()}
    if training.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in training.average.state_dict().items()}
    for index, slots in optimiser["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in slots.items() if tensor is not None}
    info = {
        "format": FORMAT,
        **training.describe(),
        "data_sha256": training.data_sha256,
        "history": [dataclasses.asdict(epoch) for epoch in training.history],
        "param_groups": optimiser["param_groups"],
        "schedule": training.schedule.state_dict(),
    }
    write_tensors(path, tensors, info)


def restore_state(training: "Training", path: Path) -> None:
    """Put a freshly built run back to where the file says it was.

    Raises:
        CheckpointError: no such file, or it belongs to another recipe, seed or data set.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: no run to resume here; start it without --resume")
    tensors, info = read_tensors(path)
    _refuse_another_run(training, path, info)
    training.model.load_state_dict(_part(tensors, "model"))
    if training.average is not None:
        training.average.load_state_dict(_part(tensors, "average"))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimiser").items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor
    training.optimiser.load_state_dict({"state": slots, "param_groups": info["param_groups"]})
    training.schedule.load_state_dict(info["schedule"])
    training.history = [Epoch(**row) for row in info["history"]]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): t for name, t in tensors.items() if name.startswith(prefix + ".")}


def _refuse_another_run(training: "Training", path: Path, info: Mapping[str, Any]) -> None:
    about = training.about
    ours = {"recipe": training.recipe.to_dict(), "seed": training.seed, "dataset": about["dataset"]}
    ours |= {"classes": about["labels"]}
    if "data_sha256" in info:  # older runs do not say it
        ours["data"] = training.data_sha256
    if "teachers" in about:
        ours["teacher"] = about["teachers"]
    ours |= {key: about[key] for key in ("start", "photos_sha256") if key in about}
    # A recipe stored before a field existed means that field's default.
    theirs = {**info, "recipe": recipe_from_dict(info["recipe"]).to_dict(), "teacher": info.get("teachers")}
    theirs |= {"classes": info["labels"], "data": info.get("data_sha256")}
    for what, now in ours.items():
        then, now = _as_json(theirs.get(what)), _as_json(now)
        if then != now:
            raise CheckpointError(
                f"{path.parent}: this run was started with another {what} ({_difference(then, now)}); "
                "resume with the same options, or give another --output"
            )


def _as_json(value: Any) -> Any:
    """As JSON would give it back: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        return ", ".join(f"{key}: {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key])
    return f"{then} then, {now} now"
