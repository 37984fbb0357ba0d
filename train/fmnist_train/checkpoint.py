"""Checkpoints: a safetensors file with a description of the model in its header, and the same description as JSON.

A checkpoint is written to a temporary file and renamed, so an interruption leaves the old file or the new one, complete.
Loading reads the description from the header; the JSON file is a copy for other programs. Nothing is pickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from fmnist_runtime.errors import MALFORMED, CheckpointError, reason_of
from fmnist_runtime.files import describe_substitute, read_at_most, write_atomically
from fmnist_runtime.image_io.missing import describe_missing
from fmnist_train.files import read_object
from fmnist_train.models import build_model

__all__ = [
    "FORMAT",
    "Checkpoint",
    "find_checkpoint",
    "is_finished",
    "is_share",
    "load_checkpoint",
    "newest_run",
    "read_data_sha256",
    "read_description",
    "read_metrics",
    "read_tensors",
    "save_checkpoint",
    "write_tensors",
]

FORMAT = 1
"""Version of the description. A file with a larger version raises ``CheckpointError``."""
_MAX_BYTES = 1 << 32
"""Largest file, bytes: 1,000 times the state of the largest network of a recipe."""
_LONGEST_REASON = 300
"""Characters of PyTorch's message about weights that do not fit: it lists every name."""
_SHA256 = "content_sha256"
"""Key of the hash in the description of a file."""
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
"""Suffixes of pickled weights. Reading one can run code, so none is read."""


@dataclass(frozen=True)
class Checkpoint:
    """A model rebuilt from a file."""

    model: nn.Module
    """Network in evaluation mode, on the CPU."""
    info: Mapping[str, Any]
    """Description: ``format``, ``model`` (``name``, ``options``), ``recipe``, ``seed``, ``epoch``, ``labels``, ``dataset``,
    ``validation``. Reading a missing key raises ``CheckpointError``."""
    sha256: str
    """SHA-256 of the safetensors file."""
    path: Path
    """Safetensors file."""


class _Description(dict[str, Any]):
    """A description read from a file; its objects are of this type, too."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(
            {key: _Description(path, value) if isinstance(value, dict) else value for key, value in values.items()}
        )
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise CheckpointError(
            f"{self._path}: its description has no '{key}'; docs/models.md, 'Weights from elsewhere', shows a complete one"
        )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Writes tensors with a JSON-ready description and the SHA-256 of both in the file's header, atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # In one value of the header: the library writes several in random order, and equal runs have equal files.
    text = json.dumps({**info, _SHA256: _content_sha256(contiguous, info)})
    write_atomically(path, save(contiguous, metadata={"info": text}))


def _content_sha256(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a description and of contiguous tensors, in the order of their names."""
    digest = hashlib.sha256(json.dumps(info).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a file that ``write_tensors`` wrote.

    Returns:
        Tensors on the CPU by name, and the description.

    Raises:
        CheckpointError: The file is missing, damaged, of another program, or of a newer version.
    """
    return _unpack(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = read_at_most(file, _MAX_BYTES, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise CheckpointError(f"{path}: not a readable checkpoint of fmnist-train ({reason_of(error)})") from error
    if len(data) > _MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, so it is not a checkpoint of fmnist-train")
    return data


def _unpack(path: Path, data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and description of a file's content; see ``read_tensors``."""
    if substitute := describe_substitute(data):
        raise CheckpointError(f"{path}: {substitute}")
    try:
        tensors = dict(sorted(load(data).items()))  # checks the header, too; the order of the library is random
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        info = json.loads(header["__metadata__"]["info"])
    except (*MALFORMED, SafetensorError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint of fmnist-train ({reason_of(error)})") from error
    if not isinstance(info, dict) or not isinstance(info.get("format", 0), int):
        raise CheckpointError(f"{path}: not a readable checkpoint of fmnist-train (its description is damaged)")
    sha256 = info.pop(_SHA256, None)  # files from elsewhere have none
    if sha256 is not None and sha256 != _content_sha256(tensors, info):
        raise CheckpointError(
            f"{path}: changed since it was written (its content_sha256 differs); put a whole copy in its place"
        )
    if info.get("format", 0) > FORMAT:
        raise CheckpointError(f"{path}: written by a newer fmnist-edge (format {info['format']}); upgrade this one")
    return tensors, info


def save_checkpoint(path: Path, model: nn.Module, info: Mapping[str, Any]) -> None:
    """Writes ``path``.safetensors and ``path``.json; ``info`` must contain ``model`` with ``name`` and ``options``."""
    info = {"format": FORMAT, **info}
    write_tensors(path.with_suffix(".safetensors"), model.state_dict(), info)
    write_atomically(path.with_suffix(".json"), json.dumps(info, indent=2) + "\n")


def find_checkpoint(path: Path | str) -> Path:
    """Returns the safetensors file of a checkpoint, without reading it.

    Args:
        path: A run folder (its best checkpoint is taken), a ``.safetensors`` file, the ``.json`` beside it, or either
            without its suffix.

    Raises:
        CheckpointError: There is no such file, or it is not a safetensors file.
    """
    path = Path(path)
    if path.is_dir():
        file = path / "best.safetensors"
    elif path.suffix == ".safetensors":
        file = path
    else:
        file = (
            path.with_suffix(".safetensors") if path.suffix == ".json" else path.with_name(f"{path.name}.safetensors")
        )
        foreign = path.is_file() and path.suffix != ".json"
        if foreign or path.suffix.lower() in _PICKLES:
            raise CheckpointError(
                f"{path}: not a safetensors checkpoint, so it is not read; "
                "docs/models.md, 'Weights from elsewhere', shows how to convert it"
            )
    if not file.is_file():
        cause = f" ({hint})" if not path.exists() and (hint := describe_missing(str(path))) else ""
        raise CheckpointError(f"{path}: no checkpoint here{cause}; train one with fmnist-train, or name its folder")
    return file


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Rebuilds the model of a checkpoint.

    Args:
        path: A run folder with its best checkpoint, or a ``.safetensors`` file, or the ``.json`` beside it.

    Raises:
        CheckpointError: A missing or damaged file, weights that do not fit the description, or a weight that is not finite.
    """
    file = find_checkpoint(path)
    data = _read(file)  # once: a training may replace the file at any moment
    tensors, info = _unpack(file, data)
    try:
        if complex_ := [name for name, tensor in tensors.items() if tensor.is_complex()]:
            raise ValueError(f"'{complex_[0]}' has complex numbers")
        # First without memory, to check the shapes: a small file may describe a network of gigabytes.
        with torch.device("meta"):
            _build(info).load_state_dict(tensors, assign=True)
        model = _build(info)
        model.load_state_dict(tensors)
    except (*MALFORMED, RuntimeError) as error:
        # PyTorch lists what does not fit line by line.
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise CheckpointError(f"{file}: the weights do not fit their description: {reason}") from error
    if not all(
        tensor.isfinite().all() for tensor in model.state_dict().values()
    ):  # those of the file may be of any type
        raise CheckpointError(
            f"{file}: weights are infinite or no numbers, as after a training that diverged; train with a lower --learning-rate"
        )
    _check_types(file, info)
    sha256 = hashlib.sha256(data).hexdigest()
    return Checkpoint(model.to(memory_format=torch.channels_last).eval(), _Description(file, info), sha256, file)


def read_description(run: Path) -> Mapping[str, Any]:
    """Returns the description of a run's best checkpoint (see ``Checkpoint.info``), empty if the run has none.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = run / "best.safetensors"
    if not path.is_file():
        return {}
    _, info = read_tensors(path)
    _check_types(path, info)
    return _Description(path, info)


def read_data_sha256(run: Path) -> str | None:
    """Returns ``splits_sha256`` of a run's data; None if it is unknown, as of earlier versions and of averages.

    Raises:
        CheckpointError: The file of the last state is damaged.
    """
    path = run / "last.safetensors"
    return read_tensors(path)[1].get("data_sha256") if path.is_file() else None


def _check_types(path: Path, info: Mapping[str, Any]) -> None:
    """Checks the parts of a description that are read after the network was built.

    Raises:
        CheckpointError: A part has another type, or a value that it cannot have.
    """
    recipe = info.get("recipe", {})
    parts = recipe if isinstance(recipe, dict) else {}
    augmentation = parts.get("augmentation", {})
    valid = {
        "labels": _are_texts(info.get("labels", [])),
        "dataset": isinstance(info.get("dataset", ""), str),
        "teachers": _are_texts(info.get("teachers", [])),
        "start": isinstance(info.get("start", ""), str),
        "recipe": isinstance(recipe, dict),
        "recipe.validation": isinstance(parts.get("validation", 0), int | float),
        "recipe.augmentation": isinstance(augmentation, dict),
        "recipe.augmentation.photo": not isinstance(augmentation, dict) or is_share(augmentation.get("photo", 0)),
    }
    for name in (name for name, holds in valid.items() if not holds):
        raise CheckpointError(f"{path}: its description is damaged: '{name}' has another type or value")


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _build(info: Mapping[str, Any]) -> nn.Module:
    return build_model(info["model"]["name"], **info["model"]["options"])


def is_finished(run: Path) -> bool:
    """Returns whether a run folder holds a run that was trained to the end and tested."""
    metrics = read_object(run / "metrics.json")
    return bool(metrics) and not metrics.get("interrupted")


def read_metrics(run: Path) -> dict[str, Any]:
    """Returns the content of a run's ``metrics.json``.

    Raises:
        CheckpointError: The file is missing or damaged: a part that others read is missing, or has another type.
    """
    path = run / "metrics.json"
    metrics = read_object(path)
    whole = all(isinstance(metrics.get(name), kind) for name, kind in _PARTS.items())
    if not whole or not _has_figures(metrics):
        raise CheckpointError(f"{path} is missing or damaged: the command of the run, with --resume, writes it anew")
    return metrics


def is_share(value: object) -> bool:
    """Returns whether a value of JSON is a number from 0 to 1; NaN is none."""
    return isinstance(value, int | float) and 0 <= value <= 1


def _has_figures(metrics: Mapping[str, Any]) -> bool:
    """Returns whether accuracies and seconds are possible numbers; without validation images, their accuracy is None."""
    validation = metrics["validation"].get("accuracy", "")
    accuracy, interval = (metrics["test"].get(name) for name in ("accuracy", "accuracy_interval"))
    return (
        (validation is None or is_share(validation))
        and isinstance(interval, list)
        and len(interval) == 2
        and all(is_share(value) for value in (accuracy, *interval))
        and interval[0] - _ROUNDING <= accuracy <= interval[1] + _ROUNDING
        and 0 <= metrics["training_seconds"] < _MOST_SECONDS
    )


_ROUNDING = 1e-9
"""By which an interval may miss its accuracy: earlier versions rounded the end at 100% downwards."""
_MOST_SECONDS = 1e12
"""Bound of a training's time in seconds: JSON may hold integers larger than any float, and infinity."""
_PARTS: dict[str, Any] = {
    **dict.fromkeys(("recipe", "validation", "test"), dict),
    **dict.fromkeys(("dataset", "checkpoint_sha256"), str),
    **dict.fromkeys(("seed", "epoch"), int),
    "training_seconds": int | float,
}
"""Types of the parts of ``metrics.json``."""


def newest_run(runs: Path = Path("runs")) -> Path:
    """Returns the run folder under ``runs`` with the newest best checkpoint.

    Raises:
        CheckpointError: No run folder with a checkpoint.
    """
    found = sorted(runs.glob("*/best.safetensors"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise CheckpointError(f"no finished run under '{runs}'; train one with fmnist-train, or name a checkpoint")
    return found[-1].parent
