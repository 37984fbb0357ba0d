"""The int8 model, the float model and the checkpoint of the same weights."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fmnist_bench.backends.registry import Files
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ConfigError, ModelError
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model

__all__ = ["find_files"]

_FLOAT, _CHECKPOINT = "model.onnx", "best.safetensors"
"""Names of the files in an export folder, a run, and a folder of artifacts."""


def find_files(model: str, float_model: str | None = None, checkpoint: str | None = None) -> Files:
    """Finds the float model and the checkpoint of the weights of an int8 model.

    Args:
        model: Int8 model: file, folder, or name of an embedded one.
        float_model: Float model; None searches the folder of ``model``, and ``artifacts`` in the current folder.
        checkpoint: Checkpoint or its folder; None also searches the run around the folder of ``model``.

    Returns:
        The paths; None for a file that was not found.

    Raises:
        ConfigError: A named file has other weights than the int8 model, or no checkpoint is there.
        ModelError: A model does not exist, or is damaged.
    """
    int8 = find_model(model)
    metadata = Classifier.load(int8).metadata
    export, kept = int8.resolve().parent, Path("artifacts") / model
    if float_model is None:
        float_model = _first((place / _FLOAT for place in (export, kept)), metadata)
    elif not _is_float_of(metadata, Path(float_model)):
        raise ConfigError(f"--float {float_model}: not of the same weights as {int8}; name its float model")
    if checkpoint is None:
        checkpoint = _first((place / _CHECKPOINT for place in (export, export.parent, kept)), metadata)
    elif not _is_checkpoint_of(metadata, _weights(Path(checkpoint))):
        raise ConfigError(f"--checkpoint {checkpoint}: not of the same weights as {int8}; name its checkpoint")
    return Files(str(int8), float_model, checkpoint)


def _first(places: Iterable[Path], metadata: Metadata) -> str | None:
    """Returns the first existing file of the same weights."""
    check = {_FLOAT: _is_float_beside, _CHECKPOINT: _is_checkpoint_of}
    return next((str(place) for place in places if place.is_file() and check[place.name](metadata, place)), None)


def _is_float_beside(metadata: Metadata, model: Path) -> bool:
    """Returns whether a file that nobody named is the float model; another program's file or a damaged one is not."""
    try:
        return _is_float_of(metadata, model)
    except ModelError:
        return False


def _is_float_of(metadata: Metadata, model: Path) -> bool:
    other = Classifier.load(model).metadata
    same = metadata.document.get("checkpoint_sha256") == other.document.get("checkpoint_sha256")
    return same and metadata.labels == other.labels


def _is_checkpoint_of(metadata: Metadata, weights: Path) -> bool:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == metadata.document.get("checkpoint_sha256")


def _weights(checkpoint: Path) -> Path:
    """Returns the file of a checkpoint, which may be named by its folder or by the description beside it."""
    file = checkpoint / _CHECKPOINT if checkpoint.is_dir() else checkpoint.with_suffix(".safetensors")
    if not file.is_file():
        raise ConfigError(f"--checkpoint {checkpoint}: no checkpoint here; name a run folder or a .safetensors file")
    return file
