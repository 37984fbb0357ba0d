"""Compares the logits of an int8 file on every class of processor, bit by bit.

    python benchmarks/studies/portability.py [--model FILE] [--images N] [--arm64 FOLDER]

Classifies test images on the processors of ``processors.py``. A second file with ordinary 8-bit weights, made from the
checkpoint beside it, shows where kernels saturate. Writes ``benchmarks/results/portability.json`` and the table in
``docs/verification.md``. The Arm row needs an unpacked arm64 userland, which ``arm64_root.sh`` creates where it is missing
(in the cache, unless ``--arm64`` names another folder). Exit code 3: the logits of the file differ on some processor.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from processors import PROCESSORS, replay
from table_text import portability
from tables import RESULTS, ROOT, write_tables

from fmnist_runtime.files import write_atomically
from fmnist_runtime.model_file.store import find_model
from fmnist_train.data.sources import cache_folder, find_dataset

MODEL = ROOT / "artifacts/improved/model.int8.onnx"


def rows(model: Path, images: np.ndarray, labels: np.ndarray, arm64: Path | None) -> list[dict[str, Any]]:
    """Returns a row for each processor: ``name``, ``how``, and ``missing`` or the differences from the first."""
    found: list[dict[str, Any]] = []
    reference = None
    for processor in PROCESSORS.values():
        row: dict[str, Any] = {"name": processor.name, "how": processor.how, **replay(processor, model, images, arm64)}
        found.append(row)
        if "missing" in row:
            continue
        logits = row.pop("logits")
        reference = logits if reference is None else reference
        row["correct"] = int((logits.argmax(axis=1) == labels).sum())
        row["different_logits"] = int((logits != reference).sum())
        row["same_bits"] = logits.tobytes() == reference.tobytes()
        row["sha256"] = hashlib.sha256(logits.tobytes()).hexdigest()
        print(
            f"{processor.name:<48}{row['different_logits']:,} logits differ   {row['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return found


def make_arm64(folder: Path) -> Path | None:
    """Returns the folder of an unpacked arm64 userland, created if missing; None where that fails (reason on stderr)."""
    if not (folder / "usr/lib/python3/dist-packages/onnxruntime").is_dir():
        print(f"unpacking an arm64 userland into {folder}", file=sys.stderr, flush=True)
        if subprocess.run(["bash", str(Path(__file__).with_name("arm64_root.sh")), str(folder)]).returncode:
            return None
    return folder


def ordinary(checkpoint: Path, calibration: np.ndarray) -> bytes:
    """Quantizes the network as most tools do: 8-bit weights, rounded to the nearest."""
    from fmnist_export.convert import to_onnx
    from fmnist_export.quantization.quantize import quantize
    from fmnist_export.settings import QuantizationSettings
    from fmnist_train.checkpoint import load_checkpoint

    settings = QuantizationSettings(target="vnni", refine=False)
    model = quantize(to_onnx(load_checkpoint(checkpoint).model), calibration, settings)
    return bytes(model.SerializeToString())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL), help="int8 file, folder, or embedded model by name")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--arm64", type=Path, default=cache_folder().with_name("arm64"), help="unpacked arm64 userland")
    parser.add_argument("--json", action="store_true", help="print the document; write no file")
    options = parser.parse_args()
    from fmnist_runtime.machine import describe_machine

    sample, model = find_dataset("sample"), find_model(options.model).resolve()
    test = sample.load("test")
    test = test.take(np.arange(min(options.images, len(test))))
    arm64 = make_arm64(options.arm64)
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "ordinary.onnx"
        wide.write_bytes(ordinary(model.parent, sample.load("train").images))
        found = [rows(path, test.images[:, None], test.labels, arm64) for path in (model, wide)]
    machine = describe_machine()
    document = {
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "images": len(test),
        "machine": f"{machine['processor']} ({', '.join(machine['flags'])})",
        "rows": found[0],
        "ordinary": found[1],
    }
    print(json.dumps(document) if options.json else portability(document))
    if not options.json:
        write_atomically(RESULTS / "portability.json", json.dumps(document, indent=1) + "\n")
        write_tables("portability")
    return 3 if any(row.get("same_bits") is False for row in found[0]) else 0


if __name__ == "__main__":
    sys.exit(main())
