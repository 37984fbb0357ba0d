"""Counts of answers, from lines of ``fmnist-infer --json`` or from the service's ``/metrics``."""

import codecs
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fmnist_runtime.drift.counters import ANSWERS, CONFIDENCE, EDGES, REJECTED, STARTED, UNREADABLE, label_text
from fmnist_runtime.errors import DataError, reason_of
from fmnist_runtime.files import describe_substitute, read_at_most, standard_input

__all__ = ["EDGES", "AnswerCounts", "read_counts"]

_SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*+")*+)\})? (?P<value>\S+)')
_NOT_BLANK = re.compile(r"\S")
_LABEL = re.compile(r'(?<!\w)(?P<key>\w++)="(?P<value>(?:[^"\\]|\\.)*+)"')
"""A label and its value. No part of a name is searched again from its middle: that would take quadratic time."""

_EXPECTED = "expected lines of fmnist-infer --json, responses of fmnist-serve, or its /metrics"
_RESTARTED = (
    "the service was restarted since the earlier reading, so its counts began at 0 again, or that reading is of another "
    "service: leave out --since"
)
_LOGGED = {"time", "level", "event"}
"""Keys of every line of the service's log."""
_GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
Value = TypeVar("Value", bool, float, str)

_MAX_BYTES = 1 << 27
"""Largest file in bytes, also unpacked: about half a million answers. The bytes and up to two copies of their text are in
memory."""
_MAX_VALUE = 1 << 22
"""Largest JSON value, or line of metrics, in characters. A response with 1,024 answers has a tenth; a list of lists takes 25
times as much memory."""
_MAX_COUNT = 1 << 53
"""Largest count, also of all answers: floats, as which metrics are written, represent whole numbers up to this one exactly."""


@dataclass(frozen=True)
class AnswerCounts:
    """Numbers of answers by label, rejection and confidence."""

    labels: Mapping[str, int]
    """Answers by label, without rejected images."""
    rejected: int
    """Rejected images."""
    confidence: np.ndarray
    """int64 ``[len(EDGES) + 1]``: answers by bin of their probability, rejected or not."""
    started: tuple[int, ...] = ()
    """Start times of the counted services, in seconds since 1970; empty if unknown."""
    unreadable: int = 0
    """Images that could not be read; they are no answers."""

    @property
    def total(self) -> int:
        """Number of answers, rejected or not."""
        return sum(self.labels.values()) + self.rejected

    def since(self, earlier: "AnswerCounts") -> "AnswerCounts":
        """Returns the counts since an earlier reading of the same counters.

        Raises:
            DataError: There are no new answers, the readings are of services with different labels or in the wrong order, or the
                service was restarted between them.
        """
        if other := sorted(self.labels.keys() ^ earlier.labels.keys()):
            raise DataError(
                f"only one of the two readings has the label '{other[0]}': the earlier one is of another service, or of "
                "another model; leave out --since"
            )
        starts_known = bool(self.started and earlier.started)
        if starts_known and self.started != earlier.started:
            raise DataError(_RESTARTED)
        labels = {name: count - earlier.labels[name] for name, count in self.labels.items()}
        later = AnswerCounts(
            labels,
            self.rejected - earlier.rejected,
            self.confidence - earlier.confidence,
            unreadable=self.unreadable - earlier.unreadable,
        )
        if min([later.rejected, later.unreadable, *labels.values(), *later.confidence]) < 0:
            raise DataError("--since must name the earlier of the two readings" if starts_known else _RESTARTED)
        if not (later.total and later.confidence.any()):
            raise DataError("no answers between the two readings")
        return later


def read_counts(path: Path, *, metrics: bool = False) -> AnswerCounts:
    """Reads answers or metrics; ``-`` is standard input. Unreadable images are left out.

    A file may hold the readings of several services, one after the other: their counts are added. It may be gzipped.

    Args:
        path: File to read.
        metrics: Whether only a reading of ``/metrics`` is accepted, as ``since`` needs it. Its counters may all be 0, as of a
            service that has just started.

    Raises:
        DataError: The file cannot be read, is too large, has an unknown format, or contains no answer.
    """
    try:
        with nullcontext(standard_input()) if str(path) == "-" else path.open("rb") as file:
            data = read_at_most(file, _MAX_BYTES)
        if data.startswith(_GZIP):
            data = read_at_most(gzip.GzipFile(fileobj=io.BytesIO(data)), _MAX_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: a damaged or incomplete gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason_of(error)}") from error
    if len(data) > _MAX_BYTES:
        raise DataError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; compare a part of the answers")
    if substitute := describe_substitute(data):
        raise DataError(f"{path}: {substitute}")
    text = _decode(path, data)
    is_answers = text.lstrip().startswith(("{", "[")) or "\n{" in text  # not "name{label}", as in metrics
    if is_answers and metrics:
        raise DataError(f"{path}: answers, not a reading of /metrics: --since subtracts such readings only")
    try:
        counts = _from_answers(text) if is_answers else _from_metrics(text)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    is_reading = counts.confidence.size == len(EDGES) + 1
    if not (counts.total or (metrics and is_reading)):
        raise DataError(f"{path}: no answers in it; {_EXPECTED}")
    return counts


def _decode(path: Path, data: bytes) -> str:
    """Decodes UTF-8 and removes byte order marks: files joined with ``cat`` may contain several.

    NULs at the beginning are removed, too: logrotate's ``copytruncate`` leaves them where a program goes on writing.
    """
    if data.startswith(_UTF16_MARKS) or _is_every_second_byte_zero(data[:100]):
        raise DataError(f"{path}: UTF-16, not UTF-8: in PowerShell, write it with | Out-File -Encoding utf8")
    try:
        return data.decode("utf-8").replace("\ufeff", "").lstrip("\0")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text; {_EXPECTED}") from error


def _is_every_second_byte_zero(data: bytes) -> bool:
    """Returns whether the bytes are ASCII text in UTF-16 without a byte order mark."""
    return len(data) > 1 and any(not any(data[start::2]) and all(data[1 - start :: 2]) for start in (0, 1))


def _from_answers(text: str) -> AnswerCounts:
    labels: Counter[str] = Counter()
    probabilities: list[float] = []
    rejected = unreadable = 0
    for line, value in _values(text):
        try:
            for answer in _answers(value):
                if "error" in answer:
                    unreadable += 1
                    continue
                probabilities.append(_probability(_typed(answer, "probability", float)))
                if _typed(answer, "rejected", bool):
                    rejected += 1
                else:
                    labels[label_text(_typed(answer, "label", str))] += 1
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"line {line} is not an answer of fmnist-infer --json: {error}") from error
    bins = np.searchsorted(EDGES, probabilities)
    return AnswerCounts(labels, rejected, np.bincount(bins, minlength=len(EDGES) + 1), unreadable=unreadable)


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """Yields the line number and the value of consecutive JSON values, with or without line breaks between them."""
    decoder, line, at = json.JSONDecoder(), 1, 0
    part, origin = text[:_MAX_VALUE], 0  # values are read from a part of the text, so that none can be larger
    while found := _NOT_BLANK.search(text, at):
        start = found.start()
        line += text.count("\n", at, start)
        try:
            try:
                value, end = decoder.raw_decode(part, start - origin)
            except (ValueError, RecursionError):  # it may continue after the part
                part, origin = text[start : start + _MAX_VALUE], start
                value, end = decoder.raw_decode(part)
        except (ValueError, RecursionError) as error:
            large = f", or has a value of over {_MAX_VALUE >> 20} MiB" if origin + len(part) < len(text) else ""
            # A JSONDecodeError counts its lines from the last value, and repeats them in its text.
            raise ValueError(f"line {line} is not JSON ({getattr(error, 'msg', error)}){large}") from error
        at = origin + end
        yield line, value
        line += text.count("\n", start, at)


def _typed(answer: Mapping[str, Any], key: str, kind: type[Value]) -> Value:
    """Returns a value of an answer; whole numbers count as ``float``.

    Raises:
        ValueError: The answer has no such key.
        TypeError: The value is of another type, such as the text "false".
    """
    if key not in answer:
        raise ValueError(f"'{key}' is missing")
    value = answer[key]
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind):
        raise TypeError(f"'{key}' is {type(value).__name__}, not {kind.__name__}")
    return value


def _probability(value: float) -> float:
    if not 0 <= value <= 1.000001:  # the rounding of a float32 softmax may exceed 1
        raise ValueError(f"{value} is not a probability from 0 to 1")
    return value


def _answers(value: Any) -> list[dict[str, Any]]:
    """Returns the answers of one line of the command, or of one response of the service.

    Raises:
        ValueError: The value is a line of the service's log.
        TypeError: The value is neither.
    """
    if isinstance(value, dict) and value.keys() >= _LOGGED:
        raise ValueError(
            "it is of the service's log, which has no answers; save the responses, or a reading of /metrics"
        )
    if isinstance(value, list):
        raise TypeError("an answer is not an object in braces, but a list: write its values one by one (jq -c '.[]')")
    found = value.get("answers", [value]) if isinstance(value, dict) else [value]
    if not isinstance(found, list):
        raise TypeError("'answers' is not a list")
    if not all(isinstance(answer, dict) for answer in found):
        raise TypeError("an answer is not an object in braces")
    return found


def _from_metrics(text: str) -> AnswerCounts:
    """Reads the Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
    labels: Counter[str] = Counter()
    rejected = unreadable = 0
    cumulative: Counter[float] = Counter()
    started = []
    for name, keys, value in _samples(text):
        if name == f"{ANSWERS}_total" and "label" in keys:
            labels[keys["label"]] += value
        elif name == f"{REJECTED}_total":
            rejected += value
        elif name == f"{UNREADABLE}_total":
            unreadable += value
        elif name == f"{CONFIDENCE}_bucket" and "le" in keys:
            cumulative[_bin_edge(keys["le"])] += value
        elif name == STARTED:
            started.append(value)
    total = sum(labels.values()) + rejected
    if total and sorted(cumulative) != [*EDGES, float("inf")]:
        raise ValueError("the confidence histogram has other bins: it is from another version of the service")
    if max(total, *cumulative.values(), 0) > _MAX_COUNT:
        raise ValueError(f"over {_MAX_COUNT:,} answers, which floats cannot count: the file is damaged")
    counts = [cumulative[edge] for edge in sorted(cumulative)]
    bins = np.diff(np.array(counts, np.int64), prepend=0)
    if bins.size and bins.min() < 0:
        raise ValueError("the cumulative counts of the confidence histogram decrease: the file is damaged")
    if bins.sum() != total:
        raise ValueError(
            f"{total:,} answers, but {bins.sum():,} counts of their confidence: the file is damaged or incomplete"
        )
    return AnswerCounts(labels, rejected, bins, tuple(sorted(started)), unreadable)


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], int]]:
    """Yields name, labels and value of this project's counters."""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a label may hold other line separators
        sample = _SAMPLE.match(line)
        if sample is None or not sample["name"].startswith((ANSWERS, REJECTED, UNREADABLE, CONFIDENCE, STARTED)):
            continue
        if len(line) > _MAX_VALUE:
            raise ValueError(f"line {number} is over {_MAX_VALUE >> 20} MiB, so the file is not a reading of /metrics")
        try:
            value = int(float(sample["value"]))
        except (OverflowError, ValueError) as error:
            raise ValueError(f"line {number} has no valid count") from error
        if not 0 <= value <= _MAX_COUNT:
            raise ValueError(f"line {number} has no valid count")
        keys = {m["key"]: _unescape(m["value"]) for m in _LABEL.finditer(sample["labels"] or "")}
        yield sample["name"], keys, value


def _bin_edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'a bin of the confidence histogram ends at no number: le="{text}"') from None


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], value)
