"""A day of answers, as counts: from the lines of ``fmnist-infer --json``, or from the service's ``/metrics``."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_runtime.drift.counters import ANSWERS, CONFIDENCE, EDGES, REJECTED, STARTED
from fmnist_runtime.errors import DataError

__all__ = ["EDGES", "Tally", "read_tally"]

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_BLANK = re.compile(r"\s*")
_LABEL = re.compile(r'(?P<key>\w+)="(?P<value>(?:[^"\\]|\\.)*)"')

_EXPECTED = "it must be lines of fmnist-infer --json, responses of fmnist-serve, or a reading of its /metrics"
_RESTARTED = "the service was restarted since the earlier reading, and counts from 0 again: leave --since out"


@dataclass(frozen=True)
class Tally:
    """How often what was answered."""

    labels: Mapping[str, int]
    """Answers by label, rejected pictures left out."""
    rejected: int
    confidence: np.ndarray
    """int64 ``[len(EDGES) + 1]``: answers by their probability, rejected or not."""
    started: tuple[int, ...] = ()
    """When the services started whose counters these are, seconds since 1970; empty where that is not known."""

    @property
    def total(self) -> int:
        """Pictures answered, rejected or not."""
        return sum(self.labels.values()) + self.rejected

    def since(self, earlier: "Tally") -> "Tally":
        """What came after an earlier reading of the same counters.

        Raises:
            DataError: nothing did, or the service was restarted in between: it says so, or the earlier one counts more.
        """
        if self.started and earlier.started and self.started != earlier.started:
            raise DataError(_RESTARTED)
        names = sorted({*self.labels, *earlier.labels})
        labels = {name: self.labels.get(name, 0) - earlier.labels.get(name, 0) for name in names}
        later = Tally(labels, self.rejected - earlier.rejected, self.confidence - earlier.confidence)
        if min([later.rejected, *labels.values(), *later.confidence]) < 0:
            raise DataError(_RESTARTED)
        if not later.total:
            raise DataError("no answers between the two readings")
        return later


def read_tally(path: Path) -> Tally:
    """Read answers or metrics; ``-`` is standard input. Pictures that could not be read are left out.

    Readings of several services may stand one after the other: what they count is added up.

    Raises:
        DataError: unreadable, of neither kind, or without a single answer.
    """
    try:
        text = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text; {_EXPECTED}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        tally = _from_answers(text) if text.lstrip().startswith("{") else _from_metrics(text)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if not tally.total:
        raise DataError(f"{path}: no answers in it; {_EXPECTED}")
    return tally


def _from_answers(text: str) -> Tally:
    labels: Counter[str] = Counter()
    probabilities: list[float] = []
    rejected = 0
    for line, value in _values(text):
        try:
            for answer in _answers(value):
                if "error" in answer:
                    continue
                probabilities.append(_probability(answer["probability"]))
                if answer["rejected"]:
                    rejected += 1
                else:
                    labels[str(answer["label"])] += 1
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {line} is no answer of fmnist-infer --json ({error!r})") from error
    bins = np.searchsorted(EDGES, probabilities)
    return Tally(labels, rejected, np.bincount(bins, minlength=len(EDGES) + 1))


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """The JSON values that stand one after the other, on lines of their own or not, and where each begins."""
    decoder, line, at = json.JSONDecoder(), 1, 0
    while (start := _BLANK.match(text, at).end()) < len(text):
        line += text.count("\n", at, start)
        try:
            value, at = decoder.raw_decode(text, start)
        except ValueError as error:
            raise ValueError(f"line {line} is no JSON ({error})") from error
        yield line, value
        line += text.count("\n", start, at)


def _probability(value: Any) -> float:
    if not 0 <= float(value) <= 1.000001:  # a float32 softmax may end a little over 1
        raise ValueError(f"{value} is no probability")
    return float(value)


def _answers(value: Any) -> list[dict[str, Any]]:
    """One line of the command, or one response of the service."""
    return value.get("answers", [value])


def _from_metrics(text: str) -> Tally:
    """The Prometheus text format: https://prometheus.io/docs/instrumenting/exposition_formats/"""
    labels: Counter[str] = Counter()
    rejected = 0
    cumulative: Counter[float] = Counter()
    started = []
    for name, keys, value in _samples(text):
        if name == f"{ANSWERS}_total" and "label" in keys:
            labels[keys["label"]] += value
        elif name == f"{REJECTED}_total":
            rejected += value
        elif name == f"{CONFIDENCE}_bucket" and "le" in keys:
            cumulative[float(keys["le"])] += value
        elif name == STARTED:
            started.append(value)
    if sum(labels.values()) + rejected and sorted(cumulative) != [*EDGES, float("inf")]:
        raise ValueError("its histogram of confidence has other bins: it is of another version of the service")
    counts = [cumulative[edge] for edge in sorted(cumulative)]
    return Tally(labels, rejected, np.diff(counts, prepend=0), tuple(sorted(started)))


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], int]]:
    """Name, labels and value of our own counters."""
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or not sample["name"].startswith((ANSWERS, REJECTED, CONFIDENCE, STARTED)):
            continue
        try:
            value = int(float(sample["value"]))
        except (OverflowError, ValueError) as error:
            raise ValueError(f"'{line}' is no count") from error
        keys = {m["key"]: re.sub(r"\\(.)", r"\1", m["value"]) for m in _LABEL.finditer(sample["labels"] or "")}
        yield sample["name"], keys, value
