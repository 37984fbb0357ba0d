"""Checks ``ray_batch`` with damaged images and a killed worker: every image has exactly one row.

    python benchmarks/studies/many_machines.py [--images 20000] [--workers 2]

Writes Fashion-MNIST images as PNG files, every thousandth of them damaged, and classifies the folder on a local Ray. One
worker is killed with SIGKILL in the middle of a batch. Compares the Parquet files with the answers of one classifier in this
process.
"""

import argparse
import collections
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import fmnist_runtime  # noqa: F401 (before Ray: turns off its usage statistics)

# isort: split
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from PIL import Image

from fmnist_runtime import Classifier
from fmnist_runtime.workers.ray_batch import ClassifyFiles, classify_folder
from fmnist_train.data.sources import find_dataset

KILL_AT = 2
"""Batch number at which a worker is killed; only the first worker to reach it is."""


class KilledOnce(ClassifyFiles):
    """Kills its process in the middle of a batch, once in the whole run, which a file records."""

    def __init__(self, killed: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._killed, self._batches = Path(killed), 0

    def __call__(self, files: pa.Table) -> pa.Table:
        answers = super().__call__(files)
        self._batches += 1
        if self._batches == KILL_AT:
            try:
                self._killed.touch(exist_ok=False)
            except FileExistsError:
                return answers
            os.kill(os.getpid(), signal.SIGKILL)
        return answers


def write_images(folder: Path, count: int) -> set[str]:
    """Writes the images, in folders of a thousand, and files of a Mac; returns the paths of the damaged images."""
    damaged = set()
    images = find_dataset().load("train").images[:count]
    for i, image in enumerate(images):
        path = folder / f"{i // 1000:03}" / f"{i:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.reshape(28, 28)).save(path)
        if i % 1000 == 500 or i == 7:
            path.write_bytes(path.read_bytes()[:60])
            damaged.add(str(path))
    for name in ("._000001.png", "__MACOSX/000/000001.png", "000/._000002.png"):  # none of them has an answer
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    return damaged


def compare(folder: Path, answers: pa.Table, damaged: set[str]) -> dict[str, int]:
    """Counts rows that are missing, doubled, or different from the answers of one classifier."""
    expected = {a.path: a.to_dict() for a in Classifier.load().stream([folder], top_k=1)}
    rows = answers.to_pylist()
    times = collections.Counter(row["path"] for row in rows)
    found = {row["path"]: row for row in rows}
    good = [path for path in expected if path in found and path not in damaged]
    return {
        "images": len(expected),
        "answers": len(rows),
        "missing": len(expected.keys() - times.keys()),
        "doubled": sum(count > 1 for count in times.values()),
        "poisoned": len(damaged),
        "errors": sum(row["error"] is not None for row in rows),
        "errors_elsewhere": sum(row["error"] is not None and row["path"] not in damaged for row in rows),
        "other_answers": sum(
            (found[p]["label"], found[p]["rejected"]) != (expected[p]["label"], expected[p]["rejected"]) for p in good
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, killed = Path(name) / "photos", Path(name) / "killed"
        damaged = write_images(folder, options.images)
        started = time.perf_counter()
        classify_folder(
            str(folder),
            f"{name}/answers",
            workers=options.workers,
            worker=KilledOnce,
            settings={"killed": str(killed)},
        )
        seconds = time.perf_counter() - started
        ray.shutdown()  # until here it may print its workers' messages on standard output
        result = compare(folder, pq.read_table(f"{name}/answers"), damaged)
        print(json.dumps({**result, "workers_killed": int(killed.exists()), "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
