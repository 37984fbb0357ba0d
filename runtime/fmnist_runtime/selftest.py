"""Does this processor, with this onnxruntime build, compute what the model's author computed?

A model file carries a few real test images with the logits that were computed when it was exported. Replaying them
catches saturating 8-bit kernels, wrong builds and damaged files, none of which raise an error by themselves.
"""

import base64
import platform
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ModelError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["Golden", "SelfTest", "pack_golden", "require_selftest", "selftest", "unpack_golden"]


@dataclass(frozen=True)
class Golden:
    """Images with their expected logits."""

    images: np.ndarray
    """uint8 ``[N, 1, 28, 28]``."""
    logits: np.ndarray
    """float32 ``[N, classes]``."""
    tolerance: float
    """Largest difference of a logit; 0 demands the same bits."""


@dataclass(frozen=True)
class SelfTest:
    """What replaying the golden images gave."""

    passed: bool
    images: int
    bit_identical: bool
    max_difference: float
    same_labels: int
    tolerance: float
    machine: str
    onnxruntime: str


def pack_golden(golden: Golden) -> dict[str, Any]:
    """The JSON-ready form that the metadata field ``fmnist.selftest`` holds; ``unpack_golden`` is its inverse."""
    return {
        "images": base64.b64encode(zlib.compress(golden.images.tobytes(), 9)).decode(),
        "logits": base64.b64encode(golden.logits.astype("<f4").tobytes()).decode(),
        "tolerance": golden.tolerance,
    }


def unpack_golden(value: Mapping[str, Any] | None, classes: int) -> Golden:
    """Read the metadata field.

    Raises:
        ModelError: there is none, or it is malformed.
    """
    if not value:
        raise ModelError("the model carries no self-test images; export it again")
    try:
        unzip = zlib.decompressobj()
        # 1,000 images at most: a self-test is small, and a hostile file must not unpack without bound.
        pixels = unzip.decompress(base64.b64decode(value["images"], validate=True), 1000 * IMAGE_SIZE**2)
        images = np.frombuffer(pixels, np.uint8).reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
        logits = np.frombuffer(base64.b64decode(value["logits"], validate=True), "<f4").reshape(-1, classes)
        golden = Golden(images, logits, float(value["tolerance"]))
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:  # binascii.Error is a ValueError
        raise ModelError(f"the model's self-test is malformed ({error!r}); export it again") from error
    if not len(golden.images) or len(golden.images) != len(golden.logits):
        raise ModelError("the model's self-test has no images, or not one row of logits for each; export it again")
    return golden


def require_selftest(classifier: Classifier) -> None:
    """Replay the golden images, which also warms the model up.

    Raises:
        ModelError: this machine does not compute what the model's author did.
    """
    if not selftest(classifier).passed:
        raise ModelError("the self-test failed: this machine would give wrong answers; see fmnist-infer selftest")


def selftest(classifier: Classifier) -> SelfTest:
    """Replay the model's golden images, one at a time as a device would."""
    golden = unpack_golden(classifier.metadata.document.get("selftest"), len(classifier.labels))
    logits = np.concatenate([classifier.logits(image[None]) for image in golden.images])
    difference = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    same = int((logits.argmax(axis=1) == golden.logits.argmax(axis=1)).sum())
    return SelfTest(
        # Not a number compares false, so it fails too.
        passed=bool(difference <= golden.tolerance and same == len(logits)),
        images=len(logits),
        bit_identical=logits.tobytes() == golden.logits.astype(np.float32).tobytes(),
        max_difference=difference,
        same_labels=same,
        tolerance=golden.tolerance,
        machine=f"{platform.machine()} {platform.system()}",
        onnxruntime=onnxruntime.__version__,
    )
