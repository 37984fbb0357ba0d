"""Permutation tests on counts: whether answers have changed, or differ by chance.

Each test compares two sets of answers, the reference and today. Without a change, the assignment of images to the two sets
is random. So both sets are pooled and divided again at random, by a multivariate hypergeometric draw. The value p is the
share of draws in which the two sets differ at least as much as observed. Unlike textbook distributions, it is exact for few
images, empty classes and binned confidences (Good 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses",
chapter 3). Holm's method (1979) bounds the probability of an error in any of the three tests.

The tests assume independent images. Ten photos of one shoe are not independent: p is then too small.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmnist_runtime.drift.counts import AnswerCounts
from fmnist_runtime.errors import DataError

__all__ = ["DRAWS", "Finding", "chi_square", "detect_drift", "kolmogorov_smirnov"]

_FEW_LABELS = 10
"""Number of different labels from which two files without a common or repeated label are not of one model: few answers may
all differ by chance."""
DRAWS = 9999
"""Number of draws; the smallest possible p is 1 / (DRAWS + 1)."""
_BLOCK = 2_000_000
"""Number of counts drawn at a time, which bounds memory to some 100 MB. The draws are the same for any number."""
_MAX_LABELS = 2000
"""Largest number of labels; the draws take time in proportion to it, a second for about a thousand."""
_MAX_IMAGES = (10**9 - 1) // 2
"""Largest total of one set: numpy draws from fewer than 10^9. A larger set is scaled down, which makes a detection less likely."""

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Test statistic: counts of one set, int64 ``[..., K]``, and of both together, int64 ``[K]``, to float64 ``[...]``."""


@dataclass(frozen=True)
class Finding:
    """Result of one test."""

    what: str
    """Quantity that was compared: labels, rejection or confidence."""
    statistic: float
    """Value of the test statistic."""
    size: float
    """Size of the difference, 0 to 1: the total variation distance of the shares; for confidence, the largest difference of
    the two cumulative shares."""
    p: float
    """Probability of a difference at least as large by chance alone, 0 to 1."""
    changed: bool = False
    """Whether p is below Holm's threshold and the size is at least the requested one."""


class _Comparison(NamedTuple):
    what: str
    reference: np.ndarray
    """Counts, int64 ``[K]``."""
    today: np.ndarray
    """Counts, int64 ``[K]``."""
    statistic: Statistic


def chi_square(today: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Returns Pearson's chi-squared statistic of a 2 × K table, float64 ``[...]``.

    Args:
        today: Counts of one row, int64 ``[..., K]``.
        pooled: Counts of both rows together, int64 ``[K]``.
    """
    seen = pooled > 0
    share = today.sum(axis=-1, keepdims=True) / pooled.sum()
    expected = pooled[seen] * share
    return np.asarray(((today[..., seen] - expected) ** 2 / (expected * (1 - share))).sum(axis=-1))


def kolmogorov_smirnov(today: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Returns the largest difference of the two cumulative shares at the bins' edges, float64 ``[...]``.

    Args:
        today: See ``chi_square``.
        pooled: See ``chi_square``.
    """
    rest = pooled - today
    gap = np.cumsum(today, -1) / today.sum(-1, keepdims=True) - np.cumsum(rest, -1) / rest.sum(-1, keepdims=True)
    return np.asarray(np.abs(gap).max(axis=-1))


def detect_drift(
    reference: AnswerCounts, today: AnswerCounts, *, alpha: float = 0.01, least: float = 0.0
) -> list[Finding]:
    """Tests label shares, rejection rate and confidence.

    Args:
        reference: Counts to compare with, at least one answer.
        today: Counts to test, at least one answer.
        alpha: Largest probability that any of the tests reports a change where there is none.
        least: Smallest size of a change, 0 to 1: with a million images even a tiny difference is significant.

    Returns:
        One finding for each test. The test of the labels is left out if all images of one set were rejected.

    Raises:
        DataError: The labels cannot be compared.
    """
    rng = np.random.default_rng(0)
    comparisons = [
        _Comparison("rejection", _rejections(reference), _rejections(today), chi_square),
        _Comparison("confidence", reference.confidence, today.confidence, kolmogorov_smirnov),
    ]
    if any(reference.labels.values()) and any(today.labels.values()):
        names = sorted({*reference.labels, *today.labels})
        if len(names) > _MAX_LABELS:
            raise DataError(f"{len(names):,} labels; drift is measured for models of at most {_MAX_LABELS:,} classes")
        if len(names) >= _FEW_LABELS and not _have_common_or_repeated_labels(reference, today):
            raise DataError("no label is in both files, and none occurs twice: these are not answers of one model")
        before, now = (np.array([counts.labels.get(name, 0) for name in names]) for counts in (reference, today))
        comparisons.insert(0, _Comparison("labels", before, now, chi_square))
    return _holm([_test(comparison, rng) for comparison in comparisons], alpha, least)


def _have_common_or_repeated_labels(reference: AnswerCounts, today: AnswerCounts) -> bool:
    """Returns whether the labels can be compared: without either, every random division differs as much as the real one."""
    counts = [counts.labels.get(name, 0) for counts in (reference, today) for name in counts.labels]
    common = any(reference.labels.get(name) for name in today.labels if today.labels[name])
    return common or max(counts) > 1


def _rejections(counts: AnswerCounts) -> np.ndarray:
    return np.array([counts.rejected, counts.total - counts.rejected])


def _test(comparison: _Comparison, rng: np.random.Generator) -> Finding:
    statistic = comparison.statistic
    reference, today = (_scaled_down(counts) for counts in (comparison.reference, comparison.today))
    pooled = reference + today
    observed = float(statistic(today, pooled))
    extreme, block = 0, max(1, _BLOCK // len(pooled))
    for start in range(0, DRAWS, block):
        rows = min(block, DRAWS - start)
        drawn = rng.multivariate_hypergeometric(pooled, int(today.sum()), size=rows, method="marginals")
        extreme += int((statistic(drawn, pooled) >= observed * (1 - 1e-12)).sum())
    difference = today / today.sum() - reference / reference.sum()
    distance = observed if statistic is kolmogorov_smirnov else float(np.abs(difference).sum() / 2)
    return Finding(comparison.what, observed, distance, (1 + extreme) / (1 + DRAWS))


def _scaled_down(counts: np.ndarray) -> np.ndarray:
    """Returns counts, int64 ``[K]``, with a total of at most ``_MAX_IMAGES``, by themselves: a small set keeps its own."""
    return np.asarray(counts / max(1.0, counts.sum() / _MAX_IMAGES), np.int64)


def _holm(findings: list[Finding], alpha: float, least: float) -> list[Finding]:
    """Compares the smallest p with alpha over the number of remaining tests, then the next, until one fails."""
    changed: set[str] = set()
    for left, finding in zip(range(len(findings), 0, -1), sorted(findings, key=lambda f: f.p), strict=True):
        if finding.p > alpha / left:
            break
        changed.add(finding.what)
    return [dataclasses.replace(f, changed=f.what in changed and f.size >= least) for f in findings]
