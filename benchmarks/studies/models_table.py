"""Table of the shipped models beside published figures of their size: accuracy, size, multiplications, latency.

    python benchmarks/studies/models_table.py

Accuracies and sizes come from ``artifacts/<model>/``. Latencies are measured here, interleaved, with one image and one thread.
Writes ``benchmarks/results/models.json`` and the tables of ``docs/models.md`` and README.md.
"""

import json
import time

import numpy as np
from tables import NAMES, RESULTS, ROOT, SECTIONS, write_tables

from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine

ROUNDS = 5000
"""Calls of each file; the first twentieth warms up."""


def latencies(names: list[str]) -> dict[str, dict[str, float]]:
    """Returns the median microseconds of each model's files, called interleaved so that other load affects all alike."""
    files = {
        (name, form): Classifier.load(ROOT / "artifacts" / name / file)
        for name in names
        for form, file in (("float", "model.onnx"), ("int8", "model.int8.onnx"))
    }
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in files}
    for _ in range(ROUNDS):
        for key, classifier in files.items():
            start = time.perf_counter()
            classifier.run(image)
            seconds[key].append(time.perf_counter() - start)
    medians = {key: float(np.median(values[ROUNDS // 20 :]) * 1e6) for key, values in seconds.items()}
    return {name: {form: medians[name, form] for form in ("float", "int8")} for name in names}


def main() -> None:
    names = [name for name in NAMES if (ROOT / "artifacts" / name / "metrics.json").is_file()]
    document = {"machine": describe_machine(), "latency_us": latencies(names)}
    write_atomically(RESULTS / "models.json", json.dumps(document, indent=1) + "\n")
    write_tables("models", "which model")
    print(SECTIONS["models"].render())


if __name__ == "__main__":
    main()
