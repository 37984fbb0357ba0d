"""Self-test: compares this machine's logits with those computed at export.

A model file holds a few test images with their logits at export. Replaying them detects saturating 8-bit kernels, wrong
builds and damaged files, none of which raises an error by itself.
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
from fmnist_runtime.errors import MALFORMED, ModelError, reason_of
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["Golden", "SelfTest", "pack_golden", "require_selftest", "selftest", "unpack_golden"]


@dataclass(frozen=True)
class Golden:
    """Test images stored in a model file, with the logits computed for them at export."""

    images: np.ndarray
    """uint8 ``[N, 1, 28, 28]``."""
    logits: np.ndarray
    """float32 ``[N, classes]``."""
    tolerance: float
    """Largest allowed difference of a logit; 0 requires the same bits."""


@dataclass(frozen=True)
class SelfTest:
    """Result of a self-test."""

    passed: bool
    """Whether all differences are within the tolerance, and all labels are the expected ones."""
    images: int
    """Number of golden images."""
    bit_identical: bool
    """Whether all logits have the same bits."""
    max_difference: float
    """Largest difference of a logit."""
    same_labels: int
    """Number of images with the expected label."""
    tolerance: float
    """See ``Golden``."""
    machine: str
    """Processor architecture and operating system."""
    onnxruntime: str
    """Version of onnxruntime."""


def pack_golden(golden: Golden) -> dict[str, Any]:
    """Returns the JSON-ready value of the metadata field ``fmnist.selftest``; ``unpack_golden`` is its inverse."""
    return {
        "images": base64.b64encode(zlib.compress(golden.images.tobytes(), 9)).decode(),
        "logits": base64.b64encode(golden.logits.astype("<f4").tobytes()).decode(),
        "tolerance": golden.tolerance,
    }


def unpack_golden(value: Mapping[str, Any] | None, classes: int) -> Golden:
    """Reads the metadata field ``fmnist.selftest``.

    Args:
        value: The field's object; None where the model has none.
        classes: Number of the model's labels.

    Raises:
        ModelError: No field, or a malformed one.
    """
    if not value:
        raise ModelError("the model has no self-test images; export it again")
    try:
        unzip = zlib.decompressobj()
        # At most 1,000 images: a self-test is small, and the limit bounds the memory for a hostile file.
        pixels = unzip.decompress(base64.b64decode(value["images"], validate=True), 1000 * IMAGE_SIZE**2)
        images = np.frombuffer(pixels, np.uint8).reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
        logits = np.frombuffer(base64.b64decode(value["logits"], validate=True), "<f4").reshape(-1, classes)
        golden = Golden(images, logits, float(value["tolerance"]))
    except (*MALFORMED, zlib.error) as error:  # binascii.Error is a ValueError
        raise ModelError(f"the model's self-test is malformed ({reason_of(error)}); export it again") from error
    if not len(golden.images) or len(golden.images) != len(golden.logits):
        raise ModelError("the model's self-test has no images, or not one row of logits for each; export it again")
    return golden


def require_selftest(classifier: Classifier) -> None:
    """Runs the self-test, which also warms up the model.

    Raises:
        ModelError: The self-test failed: this machine computes other logits than the export did.
    """
    if not selftest(classifier).passed:
        raise ModelError("the self-test failed: this machine would compute wrong answers; see fmnist-infer selftest")


def selftest(classifier: Classifier) -> SelfTest:
    """Runs the model's golden images one at a time, as a device does, and compares the logits."""
    golden = unpack_golden(classifier.metadata.document.get("selftest"), len(classifier.labels))
    logits = np.concatenate([classifier.logits(image[None]) for image in golden.images])
    difference = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    same = int((logits.argmax(axis=1) == golden.logits.argmax(axis=1)).sum())
    return SelfTest(
        # A comparison with NaN is false, so NaN fails.
        passed=bool(difference <= golden.tolerance and same == len(logits)),
        images=len(logits),
        bit_identical=logits.tobytes() == golden.logits.astype(np.float32).tobytes(),
        max_difference=difference,
        same_labels=same,
        tolerance=golden.tolerance,
        machine=f"{platform.machine()} {platform.system()}",
        onnxruntime=onnxruntime.__version__,
    )
