"""What a comparison's folder keeps of the runs in it, so that it can be written again when they are gone."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fmnist_runtime.machine import describe_machine
from fmnist_train.evaluation.predictor import open_predictor
from fmnist_train.files import write_atomically

__all__ = ["earlier_rows", "is_known", "keep_evidence", "measure_latency"]

_EVIDENCE = ("metrics.json", "history.csv")
_MODEL = "model.int8.onnx"
_TURNS, _CALLS = 40, 10


def earlier_rows(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """The rows of the comparison that was written there before, by name; of another data set none."""
    path = folder / "comparison.json"
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return {row["name"]: row for row in rows if row["dataset"] == dataset}


def is_known(runs: Sequence[Path], row: dict[str, Any], folder: Path) -> bool:
    """Whether a row of before says all that these runs can: there are none, or they are the same and not exported here."""
    names = [Path(run).name for run in row["runs"]]
    return not runs or (
        [run.name for run in runs] == names and not any(_says_more(run, folder / run.name) for run in runs)
    )


def _says_more(run: Path, kept: Path) -> bool:
    if not (kept / "metrics.json").is_file() or (run / "export" / "parity.json").exists():
        return True
    first, second = (json.loads((place / "metrics.json").read_text("utf-8")) for place in (run, kept))
    return first["checkpoint_sha256"] != second["checkpoint_sha256"]


def keep_evidence(run: Path, folder: Path, *, exported: bool) -> None:
    """Copy a run's figures, and its int8 file if it is ``exported``, into a folder of the run's name."""
    kept = folder / run.name
    sources = {name: run / name for name in _EVIDENCE} | {_MODEL: run / "export" / _MODEL}
    for name, source in sources.items():
        if source.is_file() and (name != _MODEL or exported):
            write_atomically(kept / name, source.read_bytes())
    if not exported:  # what lies there came from other weights
        (kept / _MODEL).unlink(missing_ok=True)


def measure_latency(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Set ``latency_us`` and ``latency_measured`` of every row whose int8 file is kept, all measured in turns."""
    kept = [(row, folder / Path(row["runs"][0]).name / _MODEL) for row in rows if row["int8_bytes"]]
    models = [(row, open_predictor(path)) for row, path in kept if path.is_file()]
    image, times = np.zeros((1, 28, 28), np.uint8), [[] for _ in models]
    for turn in range(-1, _TURNS):  # the first turn warms up
        for (_, model), seconds in zip(models, times, strict=True):
            for _ in range(_CALLS):
                start = time.perf_counter()
                model.logits(image)
                if turn >= 0:
                    seconds.append(time.perf_counter() - start)
    about = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()['processor']}"
    for (row, _), seconds in zip(models, times, strict=True):
        row |= {"latency_us": 1e6 * median(seconds), "latency_measured": about}
