"""A common interface to checkpoints, run by PyTorch, and ONNX files, run by the device runtime."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.seen import stored_seen
from fmnist_train.evaluation.inference import predict_logits

__all__ = ["Predictor", "open_predictor"]

_BATCH = 500
"""Images in one call of onnxruntime, which bounds memory."""


@dataclass(frozen=True)
class Predictor:
    """A model with its labels, and a function that computes logits."""

    name: str
    """Name of the network."""
    kind: str
    """File format and precision, such as ``"PyTorch checkpoint, float32"``."""
    labels: tuple[str, ...]
    """Class names; the position is the class id."""
    temperature: float
    """``probabilities = softmax(logits / temperature)``."""
    sha256: str
    """SHA-256 of the file."""
    seen: np.ndarray
    """Hashes of the images it was trained on, uint64 ``[N]`` (see ``hash_images``); empty if they are unknown."""
    logits: Callable[[np.ndarray], np.ndarray]
    """Function from uint8 ``[N, 28, 28]`` to float32 ``[N, classes]``."""


def open_predictor(path: Path | str) -> Predictor:
    """Opens an ``.onnx`` file, or a checkpoint: a run folder, a ``.safetensors`` file or the ``.json`` beside it.

    Raises:
        ModelError: The ONNX file is damaged, or was not written by this project.
        CheckpointError: The checkpoint is damaged or missing.
    """
    path = Path(path)
    return _open_onnx(path) if path.suffix == ".onnx" else _open_checkpoint(path)


def _open_checkpoint(path: Path) -> Predictor:
    checkpoint = load_checkpoint(path)
    return Predictor(
        name=checkpoint.info["model"]["name"],
        kind="PyTorch checkpoint, float32",
        labels=tuple(checkpoint.info["labels"]),
        temperature=1.0,
        sha256=checkpoint.sha256,
        seen=stored_seen(checkpoint.info, checkpoint.path),
        logits=lambda images: predict_logits(checkpoint.model, images),
    )


def _open_onnx(path: Path) -> Predictor:
    from fmnist_runtime import Classifier

    classifier = Classifier.load(path)
    metadata = classifier.metadata
    described = metadata.document.get("model")

    def logits(images: np.ndarray) -> np.ndarray:
        pixels = images[:, np.newaxis]
        return np.concatenate([classifier.logits(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)])

    return Predictor(
        name=str(described.get("name", path.stem)) if isinstance(described, dict) else path.stem,
        kind=f"ONNX model, {metadata.precision}",
        labels=metadata.labels,
        temperature=metadata.temperature,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        seen=np.empty(0, np.uint64),
        logits=logits,
    )
