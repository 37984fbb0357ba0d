"""Pictures by the batch, as files' bytes: each comes to a prediction or to why there is none, and a bad one spoils no other."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.images import open_image
from fmnist_runtime.prediction import Prediction

__all__ = ["Outcome", "answer_batch", "classify_prepared"]

Failure = TypeVar("Failure")

Outcome = Prediction | Exception
"""What one picture came to; an ``ImageError`` where it could not be read, anything else is a fault of ours."""


def answer_batch(
    classifier: Classifier,
    pictures: Sequence[bytes],
    *,
    top_k: int = 3,
    reject: bool = True,
    max_pixels: int | None = None,
) -> list[Outcome]:
    """Decode one by one, then classify in one call of the model.

    Args:
        classifier: what to ask.
        pictures: encoded pictures.
        top_k, reject: see ``Classifier.__call__``.
        max_pixels: see ``open_image``.
    """
    prepared: list[np.ndarray | Exception] = []
    for data in pictures:
        try:
            prepared.append(classifier.prepare(open_image(data, max_pixels=max_pixels)))
        except Exception as error:  # even a fault of ours in one picture must not hit its neighbours
            prepared.append(error)
    return classify_prepared(classifier, prepared, top_k=top_k, reject=reject)


def classify_prepared(
    classifier: Classifier, prepared: Sequence[np.ndarray | Failure], *, top_k: int, reject: bool
) -> list[Prediction | Failure]:
    """Classify in one call what ``Classifier.prepare`` returned; whatever stands there in place of a picture stays."""
    views = [each for each in prepared if isinstance(each, np.ndarray)]
    predictions = iter(classifier.classify_inputs(np.stack(views), top_k=top_k, reject=reject) if views else [])
    return [next(predictions) if isinstance(each, np.ndarray) else each for each in prepared]
