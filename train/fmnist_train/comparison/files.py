"""Copies of a run's files for a comparison, so that it can be repeated after the runs are deleted; and its latencies."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fmnist_runtime.errors import MALFORMED, ConfigError, FileError
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_train.checkpoint import is_share
from fmnist_train.evaluation.predictor import open_predictor
from fmnist_train.files import read_object, refuse_replacing

__all__ = ["covers", "earlier_rows", "keep_evidence", "measure_latency", "refuse_foreign_copy"]

_AMOUNTS = ("parameters", "macs", "float_bytes", "int8_bytes", "latency_us", "training_seconds")
_SHARES = ("accuracy_std", "int8_accuracy")
_TEXTS = ("latency_measured", "claim")
"""Figures of a row (see ``compare_recipes``), which may be None."""
_LARGEST = 1e15
"""Bound of an amount: JSON may hold integers larger than any float, and infinity."""
_EVIDENCE = ("metrics.json", "history.csv")
_MODEL = "model.int8.onnx"
_ROUNDS, _CALLS = 40, 10
"""Rounds over all models, and consecutive calls of a model in a round. In short rounds, load affects all models alike."""


def earlier_rows(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Returns the rows of the folder's earlier comparison, by name.

    Raises:
        ConfigError: It was made on another data set.
        FileError: The folder's file is damaged, or was not written by this command.
    """
    path = folder / "comparison.json"
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text("utf-8"))
        if not all(_is_row(row) for row in rows):
            raise ValueError("not a row")
        others = [row["dataset"] for row in rows if row["dataset"] != dataset]
        found = {row["name"]: row for row in rows if row["runs"]}
    except (*MALFORMED, RecursionError) as error:
        raise FileError(f"{path}: not a comparison of this command; remove it, or give another --output") from error
    if others:
        raise ConfigError(f"{path} holds a comparison on {others[0]}, not on {dataset}: give another --output")
    return found


def _is_row(row: dict[str, Any]) -> bool:
    """Returns whether a value has the figures of a row, with possible values."""
    texts = [row["name"], row["dataset"], *row["runs"], *(row[key] for key in _TEXTS if row[key] is not None)]
    shares = [row["accuracy"], *(row["interval"] or ()), *(row[key] for key in _SHARES if row[key] is not None)]
    amounts = [row[key] for key in _AMOUNTS if row[key] is not None]
    return (
        isinstance(row["runs"], list)
        and all(isinstance(text, str) for text in texts)
        and all(is_share(share) for share in shares)
        and all(isinstance(amount, int | float) and 0 <= amount < _LARGEST for amount in amounts)
        and (row["accuracy_std"] is not None or len(row["interval"]) == 2)
    )


def refuse_foreign_copy(kept: Path) -> None:
    """Checks that a subfolder for copies (see ``keep_evidence``) has no files of others.

    Raises:
        ConfigError: It has, or it is a run.
    """
    if (kept / "best.safetensors").exists():
        raise ConfigError(f"{kept} is a run itself: give another --output for the copies of its figures")
    refuse_replacing(kept, (*_EVIDENCE, _MODEL), mark="metrics.json", keys={"checkpoint_sha256"})


def covers(runs: Sequence[Path], row: dict[str, Any], folder: Path) -> bool:
    """Returns whether an earlier row can be reused: no runs are given, or the same runs without a newer export."""
    names = [Path(run).name for run in row["runs"]]
    same = [run.name for run in runs] == names
    return not runs or (same and not any(_is_newer(run, folder / run.name) for run in runs))


def _is_newer(run: Path, kept: Path) -> bool:
    """Returns whether a run has figures that are not in its copy."""
    if not (kept / "metrics.json").is_file() or (run / "export" / "parity.json").exists():
        return True
    first, second = (read_object(place / "metrics.json").get("checkpoint_sha256") for place in (run, kept))
    return bool(first != second)


def keep_evidence(run: Path, folder: Path, *, exported: bool) -> None:
    """Copies a run's figures, and its int8 file if it is ``exported``, into a subfolder of the run's name."""
    kept = folder / run.name
    sources = {name: run / name for name in _EVIDENCE} | {_MODEL: run / "export" / _MODEL}
    for name, source in sources.items():
        if source.is_file() and (name != _MODEL or exported):
            write_atomically(kept / name, source.read_bytes())
    if not exported:  # a file from an earlier comparison has other weights
        (kept / _MODEL).unlink(missing_ok=True)


def measure_latency(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Measures the copied int8 files in interleaved rounds; sets ``latency_us`` and ``latency_measured`` of their rows."""
    kept = [(row, folder / Path(row["runs"][0]).name / _MODEL) for row in rows if row["int8_bytes"]]
    models = [(row, open_predictor(path)) for row, path in kept if path.is_file()]
    image = np.zeros((1, 28, 28), np.uint8)
    times: list[list[float]] = [[] for _ in models]
    for round_number in range(-1, _ROUNDS):  # the first round warms up
        for (_, model), seconds in zip(models, times, strict=True):
            for _ in range(_CALLS):
                start = time.perf_counter()
                model.logits(image)
                if round_number >= 0:
                    seconds.append(time.perf_counter() - start)
    measured = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()['processor']}"
    for (row, _), seconds in zip(models, times, strict=True):
        row |= {"latency_us": 1e6 * median(seconds), "latency_measured": measured}
