"""The reject option: is this picture like anything that the model knows?

A score says how familiar a picture looks (higher: more familiar); the model's metadata carry which score to use and the
threshold that was fitted to accept a stated share of real garments. Sources: maximum softmax probability, Hendrycks and
Gimpel 2017 (arXiv:1610.02136); energy, Liu et al. 2020 (arXiv:2010.03759), here with its sign turned; certainty, which is
entropy turned round, fits a network that learnt to share its answer evenly among all classes for what is no garment
(Hendrycks, Mazeika, Dietterich 2019, arXiv:1812.04606).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fmnist_runtime.errors import ModelError

__all__ = ["SCORES", "RejectRule"]


def max_probability(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The most probable class's calibrated probability, ``[N]``."""
    return probabilities.max(axis=1)


def energy(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """``log(sum(exp(logits)))``, ``[N]``: large where some class has strong evidence, however it is shared."""
    peak = logits.max(axis=1)
    return peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))


def certainty(logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 less the entropy of the calibrated probabilities as a share of the largest there is, ``[N]`` in 0..1."""
    bits = probabilities * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return 1 + bits.sum(axis=1) / np.log(probabilities.shape[1])


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "max_probability": max_probability,
    "energy": energy,
    "certainty": certainty,
}


class RejectRule(NamedTuple):
    """Accept a picture whose ``score`` is at least ``threshold``."""

    score: str
    threshold: float

    @classmethod
    def from_metadata(cls, value: Mapping[str, Any] | None) -> "RejectRule | None":
        """Read the metadata's ``reject`` object; None means: never reject.

        Raises:
            ModelError: it is malformed, or names a score that this runtime does not know.
        """
        if value is None:
            return None
        try:
            rule = cls(str(value["score"]), float(value["threshold"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"the model's reject rule is malformed ({error!r}); export it again") from error
        if rule.score not in SCORES:
            raise ModelError(f"the model rejects by '{rule.score}'; this runtime knows {', '.join(SCORES)}: upgrade it")
        return rule

    def scores(self, pixels: np.ndarray, logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """How familiar each picture looks, ``[N]``; minus infinity where there is nothing to see.

        Args:
            pixels: what the network saw, ``[N, ...]``; 0 is ground.
            logits, probabilities: float32 ``[N, classes]``.
        """
        something = pixels.reshape(len(pixels), -1).any(axis=1)
        return np.where(something, SCORES[self.score](logits, probabilities), -np.inf)

    def reasons(self, pixels: np.ndarray, logits: np.ndarray, probabilities: np.ndarray) -> list[str | None]:
        """Why each picture is rejected, one line; None where it is accepted. The arguments are those of ``scores``."""
        scores = self.scores(pixels, logits, probabilities)
        return [None if score >= self.threshold else self._reason(score) for score in scores]

    def _reason(self, score: float) -> str:
        if score == -np.inf:
            return "nothing in the picture stands out from its ground"
        name = self.score.replace("_", " ")
        return f"unlike the pictures the model knows: {name} {score:.3g} is under the threshold {self.threshold:.3g}"
