"""What an exported file will say about itself, apart from what the gate measures."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_runtime.selftest import Golden, pack_golden
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.sources import Split
from fmnist_train.data.splits import arrays_sha256
from fmnist_train.models import Normalize, count_parameters

__all__ = ["describe", "golden", "prove", "tolerance"]

_GOLDEN_IMAGES = 8
_HALF = 0.1
"""Sums of float16 products are rounded to 11 bits by some processors, and to 24 by others."""
_MIXED = 0.25
"""Float sums differ in their last bits between processors, which may move an activation behind them by one of its 256 steps."""
_LICENCE = "MIT, both the weights and Fashion-MNIST (Zalando SE)"
_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def describe(checkpoint: Checkpoint, macs: int, temperature: float, reject: dict[str, Any]) -> dict[str, Any]:
    """The metadata that all files of one export share; keys as in ``fmnist_runtime/metadata.py``, without the prefix."""
    info = checkpoint.info
    normalise = next(m for m in checkpoint.model.modules() if isinstance(m, Normalize))
    return {
        "labels": info["labels"],
        "input": {
            "name": "image",
            "dtype": "uint8",
            "shape": ["N", 1, IMAGE_SIZE, IMAGE_SIZE],
            "mean": normalise.mean,
            "std": normalise.std,
            "convention": "light garment on black ground; 0 is ground",
        },
        "model": {**info["model"], "parameters": count_parameters(checkpoint.model), "macs": macs},
        "temperature": temperature,
        "reject": reject,
        "training": {key: info[key] for key in ("recipe", "seed", "dataset", "epoch", "teachers") if key in info},
        "checkpoint_sha256": checkpoint.sha256,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _TOOLS},
        },
        "licence": _LICENCE,
    }


def tolerance(precision: str, calibration: Mapping[str, Any] | None) -> float:
    """How far a file's logits may differ on another processor: not at all where all layers compute on integers."""
    if precision == "int8":
        return _MIXED if (calibration or {}).get("float_layers") else 0.0
    return _HALF if precision == "float16" else 1e-3


def golden(test: Split, logits: np.ndarray, tolerance: float) -> dict[str, Any]:
    """The first image of each class, up to a handful, with its logits and what ``tolerance`` says."""
    chosen = np.sort(np.unique(test.labels, return_index=True)[1])[:_GOLDEN_IMAGES]
    return pack_golden(Golden(test.images[chosen, None], logits[chosen], tolerance))


def prove(test: Split, reference: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """What ``fmnist-export verify`` needs to compute a file's figures again, without the checkpoint.

    Args:
        test: the images of all figures.
        reference: PyTorch's logits of them, ``[N, classes]``.
        logits: the file's own, float32 ``[N, classes]``.

    Returns:
        ``images_sha256`` (of pixels, then labels), ``logits_sha256`` (as little-endian float32), and ``pytorch_differs``:
        pairs of an image's number and PyTorch's class, wherever that is not the file's.
    """
    expected, found = reference.argmax(axis=1), logits.argmax(axis=1)
    return {
        "images_sha256": arrays_sha256(test.images, test.labels),
        "logits_sha256": arrays_sha256(np.ascontiguousarray(logits, "<f4")),
        "pytorch_differs": [[int(i), int(expected[i])] for i in np.flatnonzero(expected != found)],
    }
