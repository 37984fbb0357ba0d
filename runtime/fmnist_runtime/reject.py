"""The reject option: scores for images unlike the training classes.

A higher score means that an image is more like the training images. The model's metadata contain the score's name, and a
threshold that accepts a stated share of garments. Sources: maximum softmax probability, Hendrycks and Gimpel 2017
(arXiv:1610.02136); negative energy, Liu et al. 2020 (arXiv:2010.03759). Certainty is one minus the normalized entropy.
Non-garment images were trained towards a uniform distribution, so high entropy means reject (Hendrycks, Mazeika, Dietterich
2019, arXiv:1812.04606).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fmnist_runtime.errors import MALFORMED, ModelError, reason_of

__all__ = ["SCORES", "RejectRule"]


def max_probability(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the calibrated probability of the most probable class, ``[N]`` in 0..1."""
    largest: np.ndarray = probabilities.max(axis=1)
    return largest


def energy(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns ``log(sum(exp(logits)))``, ``[N]``: large if any class has strong evidence."""
    peak: np.ndarray = logits.max(axis=1)
    values: np.ndarray = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return values


def certainty(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns 1 minus the entropy of the calibrated probabilities over its maximum, ``[N]`` in 0..1; 1 for a single class."""
    terms = probabilities * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    values: np.ndarray = 1 + terms.sum(axis=1) / np.log(max(2, probabilities.shape[1]))
    return values


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "max_probability": max_probability,
    "energy": energy,
    "certainty": certainty,
}
"""Scores by their names in the metadata: functions of float32 logits and probabilities ``[N, classes]``."""


class RejectRule(NamedTuple):
    """Rule that accepts an image whose score is at least the threshold."""

    score: str
    """Key of ``SCORES``."""
    threshold: float
    """In the unit of the score."""

    @classmethod
    def from_metadata(cls, value: Mapping[str, Any] | None) -> "RejectRule | None":
        """Reads the metadata's ``reject`` object; None means: never reject.

        Raises:
            ModelError: The object is malformed, or names an unknown score.
        """
        if value is None:
            return None
        try:
            rule = cls(str(value["score"]), float(value["threshold"]))
        except MALFORMED as error:
            raise ModelError(f"the model's reject rule is malformed ({reason_of(error)}); export it again") from error
        if not abs(rule.threshold) <= float(np.finfo(np.float32).max):  # false for NaN, too
            raise ModelError("the model's reject rule has no finite float32 threshold; export it again")
        if rule.score not in SCORES:
            raise ModelError(f"the model rejects by '{rule.score}'; this runtime has {', '.join(SCORES)}: upgrade it")
        return rule

    def scores(self, pixels: np.ndarray, logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Returns the score of each image, ``[N]``; minus infinity where the input is empty.

        Args:
            pixels: Network inputs, ``[N, ...]``; 0 is background.
            logits: float32 ``[N, classes]``.
            probabilities: float32 ``[N, classes]``.
        """
        not_empty = pixels.any(axis=tuple(range(1, pixels.ndim)))
        return np.where(not_empty, SCORES[self.score](logits, probabilities), -np.inf)

    def reasons(self, pixels: np.ndarray, logits: np.ndarray, probabilities: np.ndarray) -> list[str | None]:
        """Returns why each image is rejected, one line, or None where it is accepted; arguments as for ``scores``."""
        scores = self.scores(pixels, logits, probabilities)
        return [None if score >= self.threshold else self._reason(score) for score in scores]

    def _reason(self, score: float) -> str:
        if score == -np.inf:
            return "nothing in the picture stands out from its background"
        name = self.score.replace("_", " ")
        shown, threshold = _distinct(score, self.threshold)
        return f"unlike the pictures of the model's classes: {name} {shown} is under the threshold {threshold}"


def _distinct(first: float, second: float) -> tuple[str, str]:
    """Returns two different numbers with three digits, or as many more as make their texts differ."""
    for digits in range(3, 18):
        texts = f"{first:.{digits}g}", f"{second:.{digits}g}"
        if float(texts[0]) != float(texts[1]):
            break
    return texts
