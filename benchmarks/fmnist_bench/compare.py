"""Two runs of the benchmark: what has become slower or faster, and what is only noise.

A difference counts where it is larger than ``tolerance`` and the intervals of the two medians do not touch; the tolerance
is there because a machine's own drift between two runs (temperature, neighbours) is in neither interval.
"""

import json
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import ConfigError

__all__ = ["compare", "read_run"]

_MODES = ("hot", "paced", "cold_start")


def read_run(path: Path) -> dict[str, Any]:
    """Read what ``fmnist-bench --json`` wrote.

    Raises:
        ConfigError: unreadable, or something else.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as a run of fmnist-bench ({error})") from error
    try:
        document["machine"].get("processor")
        measured = sum([_is_measured(result) for result in document["results"].values()])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: not a run of fmnist-bench; write one with fmnist-bench --json > FILE") from error
    if not measured:
        raise ConfigError(f"{path}: no contestant was measured in this run; write one with fmnist-bench --json > FILE")
    return document


def _is_measured(result: dict[str, Any]) -> bool:
    """Whether a contestant has figures, or is missing and says why; an exception where it is neither."""
    if isinstance(result.get("missing"), str):
        return False
    for mode in _MODES:
        low, high = result[mode]["p50 interval"]
        if not 0 < low <= result[mode]["p50"] <= high < float("inf"):
            raise ValueError("not a median of times and its interval")
    return True


def compare(old: dict[str, Any], new: dict[str, Any], tolerance: float = 0.05) -> tuple[list[str], bool]:
    """Lines for people, one a contestant and mode; and whether anything regressed: slower, gone, or now wrong."""
    lines, regressed = [], False
    if old["machine"].get("processor") != new["machine"].get("processor"):
        lines.append("note: the two runs are from different processors")
    for name, before in old["results"].items():
        after = new["results"].get(name, {"missing": "not in the new run"})
        if "missing" in before:
            continue
        if "missing" in after or (after.get("wrong") and not before.get("wrong")):
            lines.append(
                f"{name}: REGRESSED: {'missing: ' + after['missing'] if 'missing' in after else 'wrong answers'}"
            )
            regressed = True
            continue
        for mode in _MODES:
            verdict = _verdict(before[mode], after[mode], tolerance)
            regressed |= verdict == "REGRESSED"
            lines.append(f"{name}, {mode}: {before[mode]['p50']:.0f} -> {after[mode]['p50']:.0f} µs: {verdict}")
    return lines, regressed


def _verdict(before: dict[str, Any], after: dict[str, Any], tolerance: float) -> str:
    change = after["p50"] / before["p50"] - 1
    apart = before["p50 interval"][1] < after["p50 interval"][0] or after["p50 interval"][1] < before["p50 interval"][0]
    if not apart or abs(change) <= tolerance:
        return f"no change beyond noise ({change:+.1%})"
    return "REGRESSED" if change > 0 else f"faster ({change:+.1%})"
