"""The table of our own models beside published figures of their size: accuracy, size, multiplications, latency.

    python benchmarks/studies/models_table.py

Accuracies and sizes are those of ``artifacts/<model>/``; latencies are measured here, in turns, one image, one thread.
Writes ``benchmarks/results/models.json`` and the table into README.md.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_runtime import Classifier
from fmnist_runtime.machine import describe_machine
from fmnist_train.files import replace_section, write_atomically

ROOT = Path(__file__).parents[2]
NAMES = ("nano", "micro", "improved-lite", "improved", "best")
ROUNDS = 5000
PUBLISHED = {
    "nano": "89.56% at 6,930 parameters; 91.0% at 60,000 (LeNet-5)",
    "micro": "92.5% below 100,000; 93.9% at 174,000 (DenseNet-BC)",
    "improved-lite": "–",
    "improved": "94.3% (a plain network of four convolutions)",
    "best": "95.55 ± 0.04% at 272,000 (ResNet-20 with random erasing, 300 epochs, epoch picked on the test set)",
}
"""What others state for about that size, on the data set of today as far as can be checked; not measured here."""


def latencies(names: list[str]) -> dict[str, dict[str, float]]:
    """Median microseconds of each model's files, called in turns so that a busy machine slows all alike."""
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


def row(name: str, latency: dict[str, float]) -> dict[str, Any]:
    folder = ROOT / "artifacts" / name
    metrics, parity = (json.loads((folder / file).read_text("utf-8")) for file in ("metrics.json", "parity.json"))
    tests = [seed["test"] for seed in metrics["seeds"]]
    return {
        "name": name,
        **{key: parity["model"][key] for key in ("parameters", "macs")},
        **{form: parity["accuracy"][form]["accuracy"] for form in ("float32", "int8")},
        "seeds": len(tests),
        "mean": float(np.mean(tests)),
        "std": float(np.std(tests, ddof=1)) if len(tests) > 1 else None,
        "float_bytes": parity["files"]["float32"]["bytes"],
        "int8_bytes": parity["files"]["int8"]["bytes"],
        "latency_us": latency,
        "published": PUBLISHED[name],
    }


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda r: f"`{r['name']}`",
    "parameters": lambda r: f"{r['parameters']:,}",
    "MACs": lambda r: f"{r['macs'] / 1e6:.1f}M",
    "int8 accuracy": lambda r: f"**{r['int8']:.2%}**",
    "float": lambda r: f"{r['float32']:.2%}",
    "PyTorch, over seeds": lambda r: (
        "one seed" if r["std"] is None else f"{r['mean']:.2%} ± {100 * r['std']:.2f} ({r['seeds']})"
    ),
    "int8 file": lambda r: f"{r['int8_bytes'] / 1000:.0f} kB",
    "int8 p50": lambda r: f"{r['latency_us']['int8']:.0f} µs",
    "float p50": lambda r: f"{r['latency_us']['float']:.0f} µs",
    "published, about that size": lambda r: r["published"],
}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *([cell(r) for cell in COLUMNS.values()] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    names = [name for name in NAMES if (ROOT / "artifacts" / name / "metrics.json").is_file()]
    measured = latencies(names)
    rows = [row(name, measured[name]) for name in names]
    document = {"machine": describe_machine(), "models": rows}
    write_atomically(ROOT / "benchmarks" / "results" / "models.json", json.dumps(document, indent=1) + "\n")
    text = table(rows)
    replace_section(ROOT / "README.md", "models", "benchmarks/studies/models_table.py", text)
    print(text)


if __name__ == "__main__":
    main()
