"""Proving a file's stated figures again, on another machine, from the file and the test images alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fmnist_export.gate import accuracy, compare_answers, run_all, share
from fmnist_export.graph import count_macs
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import DataError, ModelError
from fmnist_runtime.model_file.integrity import is_ort
from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.selftest import selftest
from fmnist_train.data.sources import DataSource, Split
from fmnist_train.data.splits import arrays_sha256

__all__ = ["Claim", "verify"]


@dataclass(frozen=True)
class Claim:
    """One stated figure, and what was found."""

    name: str
    stated: Any
    found: Any
    holds: bool


def verify(model: str | Path, source: DataSource) -> list[Claim]:
    """Check what a model file says about itself.

    Args:
        model: file, folder or embedded name, as ``Classifier.load`` takes it.
        source: the data set that the file was proven on; only its test images are read.

    Returns:
        One claim a figure; where all layers compute on integers they hold only to the last image and bit, otherwise answers
        that are decided by less than the self-test's tolerance may differ.

    Raises:
        ModelError: the file does not load, or carries no proof.
        DataError: these are not the images that it was proven on.
    """
    classifier = Classifier.load(model)
    document, test = classifier.metadata.document, source.load("test")
    try:
        proof, precision = document["proof"], classifier.metadata.precision
        tolerance = float(document["selftest"]["tolerance"])
        if not 0 <= tolerance < 1:
            raise ValueError(f"a tolerance of {tolerance:g} would prove anything")
        exact = tolerance == 0  # integers are equal everywhere, float sums are not
        if arrays_sha256(test.images, test.labels) != proof["images_sha256"]:
            raise DataError(f"the file was not proven on the test images of {source.name} that lie in {source.origin}")
        logits = run_all(classifier, test.images)
        replay = selftest(classifier)
        data = read_model(find_model(model))
        claims = [
            _claim("labels", list(classifier.labels), list(source.labels)),
            *([] if is_ort(data) else _costs(document, onnx.load_model_from_string(data))),
            Claim("self-test", "passes", "passes" if replay.passed else "fails", replay.passed),
            *_accuracy(document["accuracy"][precision], accuracy(logits, test.labels), _slack(logits, tolerance)),
        ]
        if exact:
            claims.append(_claim("SHA-256 of all logits", proof["logits_sha256"], arrays_sha256(logits)))
            claims += _against_pytorch(document["parity"][precision], proof["pytorch_differs"], logits, test)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, DataError | ModelError):
            raise
        raise ModelError(f"the model's proof is missing or malformed ({error!r}); export it again") from error
    else:
        return claims


def _costs(document: Mapping[str, Any], graph: onnx.ModelProto) -> list[Claim]:
    """A graph in the ORT format is optimised already, and has no layers left to count."""
    return [_claim("multiply-accumulates", document["model"]["macs"], count_macs(graph))]


def _claim(name: str, stated: Any, found: Any) -> Claim:
    return Claim(name, stated, found, stated == found)


def _slack(logits: np.ndarray, tolerance: float) -> int:
    """How many answers may differ: those that are decided by less than ``tolerance``, none where that is 0."""
    best = np.sort(logits, axis=1)[:, -2:]
    return int((best[:, 1] - best[:, 0] < tolerance).sum())


def _accuracy(stated: Mapping[str, Any], found: Mapping[str, Any], slack: int) -> list[Claim]:
    same_images = stated["images"] == found["images"]
    close = same_images and abs(stated["correct"] - found["correct"]) <= slack
    follows = share(stated["correct"], stated["images"])
    return [
        Claim("correct answers", *(f"{v['correct']} of {v['images']}" for v in (stated, found)), close),
        Claim(
            "accuracy", stated["accuracy"], found["accuracy"], close and _near(stated["accuracy"], follows["accuracy"])
        ),
        Claim(
            "95% interval",
            stated["interval"],
            found["interval"],
            close and _near(stated["interval"], follows["interval"]),
        ),
    ]


def _against_pytorch(
    stated: Mapping[str, Any], differs: list[list[int]], logits: np.ndarray, test: Split
) -> list[Claim]:
    """The comparison with PyTorch, whose answers the file names wherever they are not its own."""
    answers = logits.argmax(axis=1)
    pytorch = answers.copy()
    for image, answer in differs:
        pytorch[image] = answer
    found = compare_answers(pytorch, answers, test.labels)
    return [
        Claim(f"{key.replace('_', ' ')} (against PyTorch)", stated[key], found[key], _near(stated[key], found[key]))
        for key in found
    ]


def _near(stated: Any, found: Any) -> bool:
    """Equal up to the rounding of the last decimal places; NaN never is."""
    return bool(np.allclose(stated, found, rtol=1e-9, atol=1e-9))
