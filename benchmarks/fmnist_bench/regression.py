"""Comparison of two runs of the benchmark: regressions, improvements and noise.

A change counts if it is larger than ``tolerance`` and the intervals of the two medians do not overlap. The tolerance covers
changes of the machine between two runs (temperature, other load), which the intervals do not include.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import MALFORMED, FileError, reason_of
from fmnist_runtime.files import read_at_most

__all__ = ["compare_runs", "read_run"]

_MAX_BYTES = 1 << 20
"""Largest file in bytes: a run has tens of thousands."""
_MODES = ("hot", "paced", "cold_start")


def read_run(path: Path) -> dict[str, Any]:
    """Reads the output of ``fmnist-bench --json``.

    Raises:
        FileError: The file cannot be read, is not such an output, or has no measured contestant.
    """
    try:
        with path.open("rb") as file:
            data = read_at_most(file, _MAX_BYTES)
        if len(data) > _MAX_BYTES:
            raise FileError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, so not a run of fmnist-bench")
        document: dict[str, Any] = json.loads(data)
    except FileError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: not readable as a run of fmnist-bench ({reason_of(error)})") from error
    try:
        document["machine"].get("processor")
        measured = sum([_is_measured(result) for result in document["results"].values()])
    except MALFORMED as error:
        raise FileError(f"{path}: not a run of fmnist-bench; write one with fmnist-bench --json > FILE") from error
    if not measured:
        raise FileError(f"{path}: no contestant was measured in this run; write one with fmnist-bench --json > FILE")
    return document


def _is_measured(result: dict[str, Any]) -> bool:
    """Returns True for a contestant with valid figures, False for a missing one with a reason.

    Raises:
        KeyError, TypeError, ValueError: The contestant is neither.
    """
    if isinstance(result.get("missing"), str):
        return False
    for mode in _MODES:
        low, high = result[mode]["p50 interval"]
        if not 0 < low <= result[mode]["p50"] <= high < sys.float_info.max:
            raise ValueError("not a median of times and its interval")
    return True


def compare_runs(old: dict[str, Any], new: dict[str, Any], tolerance: float = 0.05) -> tuple[list[str], bool]:
    """Compares two runs.

    Returns:
        One line for each contestant and mode; and whether any contestant is slower, missing or newly wrong.
    """
    lines, regressed = [], False
    if old["machine"].get("processor") != new["machine"].get("processor"):
        lines.append("note: the two runs are from different processors")
    if None not in (models := [run.get("model") for run in (old, new)]) and models[0] != models[1]:
        lines.append("note: the two runs are of different models")
    for name, before in old["results"].items():
        if "missing" in before:
            continue
        after = new["results"].get(name, {"missing": "not in the new run"})
        if fault := _fault(before, after):
            lines.append(f"{name}: REGRESSED: {fault}")
            regressed = True
            continue
        for mode in _MODES:
            verdict = _verdict(before[mode], after[mode], tolerance)
            regressed |= verdict == "REGRESSED"
            lines.append(f"{name}, {mode}: {before[mode]['p50']:.0f} -> {after[mode]['p50']:.0f} µs: {verdict}")
    return lines, regressed


def _fault(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Returns the reason why the new figures cannot be compared, or an empty text."""
    if "missing" in after:
        return f"missing: {after['missing']}"
    return "wrong answers" if after.get("wrong") and not before.get("wrong") else ""


def _verdict(before: dict[str, Any], after: dict[str, Any], tolerance: float) -> str:
    change = after["p50"] / before["p50"] - 1
    apart = before["p50 interval"][1] < after["p50 interval"][0] or after["p50 interval"][1] < before["p50 interval"][0]
    if not apart or abs(change) <= tolerance:
        return f"no change beyond noise ({change:+.1%})"
    return "REGRESSED" if change > 0 else f"faster ({change:+.1%})"
