"""Verification of the figures in a file's metadata on another machine, from the file and the test images alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fmnist_export.evaluation import accuracy, all_logits, compare_classes, share_correct
from fmnist_export.graph import count_macs
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import MALFORMED, DataError, ModelError, reason_of
from fmnist_runtime.model_file.integrity import is_ort
from fmnist_runtime.model_file.store import find_model, prefix_model_errors, read_model
from fmnist_runtime.selftest import selftest
from fmnist_train.data.sources import DataSource, Split
from fmnist_train.data.splits import arrays_sha256

__all__ = ["Claim", "verify"]

_ROUNDING = 1e-9
"""Relative and absolute difference of two figures that counts as rounding of their last digits."""


@dataclass(frozen=True)
class Claim:
    """One figure in the metadata, and the same figure computed on this machine."""

    name: str
    """Name in the printed report."""
    stated: Any
    """Value in the metadata."""
    found: Any
    """Value computed on this machine."""
    holds: bool
    """Whether both are equal, within the tolerance for other processors."""


def verify(model: str | Path, source: DataSource) -> list[Claim]:
    """Computes the figures of a model file's metadata again.

    Args:
        model: File, folder or embedded name, as ``Classifier.load`` takes it.
        source: Data set of the file's figures; only its test images are read.

    Returns:
        One claim for each figure. If all layers compute on integers, all figures and logits must be equal, to the bit.
        Otherwise the class of an image may differ if its two largest logits differ by less than the self-test's tolerance.

    Raises:
        ModelError: The file cannot be loaded, or its metadata have no valid field ``proof``.
        DataError: The figures in the file were computed on other test images.
    """
    classifier, path, test = Classifier.load(model), find_model(model), source.load("test")
    with prefix_model_errors(path):
        try:
            return _compute_claims(classifier, read_model(path), source, test)
        except MALFORMED as error:
            if isinstance(error, DataError | ModelError):
                raise
            raise ModelError(
                f"the model's proof is missing or malformed ({reason_of(error)}); export it again"
            ) from error


def _compute_claims(classifier: Classifier, data: bytes, source: DataSource, test: Split) -> list[Claim]:
    document, precision = classifier.metadata.document, classifier.metadata.precision
    proof = document["proof"]
    tolerance = _tolerance(document)
    if arrays_sha256(test.images, test.labels) != proof["images_sha256"]:
        raise DataError(
            f"the figures are not those of the test images of {source.name} in {source.origin}; name others with --data"
        )
    logits = all_logits(classifier, test.images)
    replay = selftest(classifier)
    claims = [
        _equal("labels", list(classifier.labels), list(source.labels)),
        *([] if is_ort(data) else _costs(document, onnx.load_model_from_string(data))),
        Claim("self-test", "passes", "passes" if replay.passed else "fails", replay.passed),
        *_accuracy(document["accuracy"][precision], accuracy(logits, test.labels), _undecided(logits, tolerance)),
    ]
    if tolerance == 0:  # integers are equal everywhere, float sums are not
        claims.append(_equal("SHA-256 of all logits", proof["logits_sha256"], arrays_sha256(logits)))
        claims += _against_pytorch(document["parity"][precision], proof["pytorch_differs"], logits, test)
    return claims


def _tolerance(document: Mapping[str, Any]) -> float:
    tolerance = float(document["selftest"]["tolerance"])
    if not 0 <= tolerance < 1:
        raise ValueError(f"a tolerance of {tolerance:g} would accept any logits")
    return tolerance


def _costs(document: Mapping[str, Any], graph: onnx.ModelProto) -> list[Claim]:
    """Compares the multiply-accumulates, which cannot be counted in the optimized graph of an ORT file."""
    return [_equal("multiply-accumulates", document["model"]["macs"], count_macs(graph))]


def _equal(name: str, stated: Any, found: Any) -> Claim:
    return Claim(name, stated, found, stated == found)


def _undecided(logits: np.ndarray, tolerance: float) -> int:
    """Returns the number of images whose two largest logits differ by less than the tolerance."""
    best = np.sort(logits, axis=1)[:, -2:]
    return int((best[:, 1] - best[:, 0] < tolerance).sum())


def _accuracy(stated: Mapping[str, Any], found: Mapping[str, Any], undecided: int) -> list[Claim]:
    """Compares the counts, up to the undecided images, and checks that accuracy and interval follow from the stated count."""
    close = stated["images"] == found["images"] and abs(stated["correct"] - found["correct"]) <= undecided
    follows = share_correct(stated["correct"], stated["images"])
    counts = [f"{value['correct']} of {value['images']}" for value in (stated, found)]
    return [
        Claim("correct answers", counts[0], counts[1], close),
        *(
            Claim(name, stated[key], found[key], close and _nearly_equal(stated[key], follows[key]))
            for name, key in (("accuracy", "accuracy"), ("95% interval", "interval"))
        ),
    ]


def _against_pytorch(
    stated: Mapping[str, Any], differs: list[list[int]], logits: np.ndarray, test: Split
) -> list[Claim]:
    """Compares with PyTorch's classes, which the field ``proof`` lists for all images with another class."""
    classes = logits.argmax(axis=1)
    pytorch = classes.copy()
    for image, reference in differs:
        pytorch[image] = reference
    found = compare_classes(pytorch, classes, test.labels)
    return [
        Claim(
            f"{key.replace('_', ' ')} (against PyTorch)",
            stated[key],
            found[key],
            _nearly_equal(stated[key], found[key]),
        )
        for key in found
    ]


def _nearly_equal(stated: Any, found: Any) -> bool:
    """Returns whether two figures are equal up to the rounding of their last digits; NaN is never equal."""
    return bool(np.allclose(stated, found, rtol=_ROUNDING, atol=_ROUNDING))
