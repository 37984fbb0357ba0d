"""Size, loading time and latency of each file format of a model, on this machine.

    python benchmarks/studies/variants.py [FOLDER]

FOLDER holds ``model.onnx`` and ``model.int8.onnx``. The float16 and ORT files are made from these, and ``narrow.int8.onnx``,
whose first convolution is not widened (``first_conv.py``). All files load and answer interleaved, with one thread; figures are
medians over the rounds. Without FOLDER, which is then that of ``improved``, the study also writes
``benchmarks/results/variants.json`` and the table in ``docs/quantization.md``.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from table_text import variants
from tables import write_tables

from fmnist_export.metadata import stamp
from fmnist_export.quantization.first_conv import narrow_first_convolution
from fmnist_export.variants import to_half, to_ort
from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.model_file.metadata import CHECKSUM_KEY, PREFIX
from fmnist_runtime.options import whole_number
from fmnist_train.data.sources import find_dataset

ROOT = Path(__file__).resolve().parents[2]
CALLS = 20
"""Timed calls of each file in a round, after as many that are not timed."""


def files(source: Path, folder: Path) -> list[Path]:
    """Writes the two ONNX files and their variants into ``folder`` and returns the paths."""
    found = {name: (source / name).read_bytes() for name in ("model.onnx", "model.int8.onnx")}
    model, document = _opened(found["model.onnx"])
    found["model.fp16.onnx"] = stamp(to_half(model), {**document, "precision": "float16"})
    found |= {name.replace(".onnx", ".ort"): to_ort(found[name]) for name in ("model.onnx", "model.int8.onnx")}
    narrow, document = _opened(found["model.int8.onnx"])
    narrow_first_convolution(narrow)
    found["narrow.int8.onnx"] = stamp(narrow, document)
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in found]


def _opened(data: bytes) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Returns a model and its metadata."""
    model = onnx.load_model_from_string(data)
    document = {p.key.removeprefix(PREFIX): json.loads(p.value) for p in model.metadata_props if p.key != CHECKSUM_KEY}
    return model, document


def measure(paths: list[Path], rounds: int) -> list[dict[str, object]]:
    """Returns medians over interleaved rounds, one row for each file."""
    image = find_dataset("sample").load("test").images[:1, None]
    loading, answering = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for path in paths:
            begin = time.perf_counter()
            classifier = Classifier.load(path)
            loading[path].append(time.perf_counter() - begin)
            for call in range(-CALLS, CALLS):
                begin = time.perf_counter()
                classifier.logits(image)
                if call >= 0:
                    answering[path].append(time.perf_counter() - begin)
    return [
        {
            "file": path.name,
            "bytes": path.stat().st_size,
            "load_ms": float(np.median(loading[path])) * 1e3,
            "answer_us": float(np.median(answering[path])) * 1e6,
        }
        for path in paths
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=whole_number(1), default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(files(options.folder or ROOT / "artifacts/improved", Path(folder)), options.rounds)
    document = {"machine": describe_machine(), "rows": rows}
    print(variants(document))
    if options.folder is None:
        write_atomically(ROOT / "benchmarks/results/variants.json", json.dumps(document, indent=1) + "\n")
        write_tables("variants")


if __name__ == "__main__":
    main()
