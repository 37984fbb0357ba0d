"""Change or chance? Permutation tests on counts.

If nothing changed, which of the pictures came on which day is chance: pool both days, deal the pictures out again (a
multivariate hypergeometric draw), and see how often the days then differ as much as they do. That is exact for few
pictures, empty classes and binned confidences alike, where the textbook distributions are not (Good 2005, "Permutation,
Parametric and Bootstrap Tests of Hypotheses", chapter 3). Three tests share the error by Holm's method (1979).

It takes pictures as independent. Ten photos of one shoe are not: then differences look surer than they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fmnist_runtime.drift.counts import Tally

__all__ = ["DRAWS", "Finding", "chi_square", "compare", "kolmogorov_smirnov"]

DRAWS = 9999
"""The smallest p that can come out is 1 / (DRAWS + 1)."""
_MOST = 10**9
"""More pictures than this numpy does not deal out; larger counts are scaled down, which errs towards chance."""

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Finding:
    """One test.

    Attributes:
        what: what was compared.
        statistic: its value.
        size: how much differs, 0 to 1: the share of answers that moved; for confidence, the largest gap between the two
            cumulative shares.
        p: how often chance alone differs as much.
        changed: whether p stands against Holm's threshold, and the size against the least that was asked for.
    """

    what: str
    statistic: float
    size: float
    p: float
    changed: bool = False


def chi_square(day: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Pearson's statistic of a 2 × K table.

    Args:
        day: counts of one row, ``[..., K]``.
        pooled: counts of both rows together, ``[K]``.
    """
    seen = pooled > 0
    share = day.sum(axis=-1, keepdims=True) / pooled.sum()
    expected = pooled[seen] * share
    return ((day[..., seen] - expected) ** 2 / (expected * (1 - share))).sum(axis=-1)


def kolmogorov_smirnov(day: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """The largest gap between the two cumulative shares, at the bins' edges; arguments as ``chi_square``."""
    rest = pooled - day
    gap = np.cumsum(day, -1) / day.sum(-1, keepdims=True) - np.cumsum(rest, -1) / rest.sum(-1, keepdims=True)
    return np.abs(gap).max(axis=-1)


def compare(reference: Tally, today: Tally, *, alpha: float = 0.01, least: float = 0.0) -> list[Finding]:
    """Test label shares, rejection rate and confidence.

    Args:
        reference, today: each with at least one answer.
        alpha: how often, at most, an unchanged world may be called changed by any of the tests.
        least: differences of a smaller size are no change, however sure: with a million pictures the least is sure.
    """
    rng = np.random.default_rng(0)
    rows = {
        "rejection": (_rejections(reference), _rejections(today), chi_square),
        "confidence": (reference.confidence, today.confidence, kolmogorov_smirnov),
    }
    if any(reference.labels.values()) and any(today.labels.values()):
        names = sorted({*reference.labels, *today.labels})
        counts = [np.array([tally.labels.get(name, 0) for name in names]) for tally in (reference, today)]
        rows = {"labels": (*counts, chi_square), **rows}
    findings = [_test(what, *row, rng) for what, row in rows.items()]
    return _holm(findings, alpha, least)


def _rejections(tally: Tally) -> np.ndarray:
    return np.array([tally.rejected, tally.total - tally.rejected])


def _test(what: str, before: np.ndarray, day: np.ndarray, statistic: Statistic, rng: np.random.Generator) -> Finding:
    scale = max(1.0, (before.sum() + day.sum()) / _MOST)
    before, day = ((counts / scale).astype(np.int64) for counts in (before, day))
    pooled = before + day
    observed = float(statistic(day, pooled))
    dealt = rng.multivariate_hypergeometric(pooled, int(day.sum()), size=DRAWS, method="marginals")
    as_far = int((statistic(dealt, pooled) >= observed * (1 - 1e-12)).sum())
    difference = day / day.sum() - before / before.sum()
    size = observed if statistic is kolmogorov_smirnov else float(np.abs(difference).sum() / 2)
    return Finding(what, observed, size, (1 + as_far) / (1 + DRAWS))


def _holm(findings: list[Finding], alpha: float, least: float) -> list[Finding]:
    """Smallest p first, each against alpha over the tests that are left, until one fails."""
    changed: set[str] = set()
    for left, finding in zip(range(len(findings), 0, -1), sorted(findings, key=lambda f: f.p), strict=True):
        if finding.p > alpha / left:
            break
        changed.add(finding.what)
    return [Finding(f.what, f.statistic, f.size, f.p, f.what in changed and f.size >= least) for f in findings]
