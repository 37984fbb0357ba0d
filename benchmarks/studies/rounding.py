"""Agreement of int8 with the float network, with rounding to the nearest and with the refined method.

    python benchmarks/studies/rounding.py [CHECKPOINT] [--images 1024 2048 4096]

Counts the validation images and as many training images; the test set is not read. Writes
``benchmarks/results/rounding.json`` and the table in ``docs/quantization.md``.
"""

import argparse
import json
from pathlib import Path

import fmnist_runtime  # noqa: F401 (before onnxruntime: turns off its telemetry)

# isort: split

import numpy as np
import onnxruntime
from onnx import ModelProto
from tables import write_tables

from fmnist_export.convert import to_onnx
from fmnist_export.quantization.quantize import quantize
from fmnist_export.settings import QuantizationSettings
from fmnist_runtime.files import write_atomically
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.sources import find_dataset, split_validation
from fmnist_train.training.run import SPLIT_SEED

ROOT = Path(__file__).resolve().parents[2]


def logits(model: ModelProto, images: np.ndarray) -> np.ndarray:
    """Returns the logits, float32 ``[N, classes]``, of uint8 ``[N, 28, 28]``."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run(["logits"], {"image": images[i : i + 500, None]})[0] for i in range(0, len(images), 500)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", default=ROOT / "artifacts/improved")
    parser.add_argument("--images", type=int, nargs="+", default=[1024, 2048, 4096])
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    images = find_dataset().load("train")
    train, validation = split_validation(images, checkpoint.info["recipe"]["validation"], SPLIT_SEED)
    seen = train.take(np.random.default_rng(1).permutation(len(train))[: len(validation)])
    model = to_onnx(checkpoint.model)
    expected = [logits(model, part.images) for part in (validation, seen)]
    rows = []
    for count in options.images:
        chosen = np.random.default_rng(0).permutation(len(train))[:count]
        for refine in (False, True):
            settings = QuantizationSettings(images=count, refine=refine)
            small = quantize(model, train.images[np.sort(chosen)], settings)
            found = [logits(small, part.images) for part in (validation, seen)]
            same = [float((a.argmax(1) == b.argmax(1)).mean()) for a, b in zip(expected, found, strict=True)]
            error = np.sqrt(((np.concatenate(expected) - np.concatenate(found)) ** 2).mean())
            name = f"{'refined' if refine else 'nearest'}, {count:,} calibration images"
            rows.append({"name": name, "validation": same[0], "training": same[1], "logits_rms": float(error)})
            print(_line(rows[-1]), flush=True)
    document = {"checkpoint_sha256": checkpoint.sha256, "images": len(validation), "rows": rows}
    write_atomically(ROOT / "benchmarks/results/rounding.json", json.dumps(document, indent=1) + "\n")
    write_tables("rounding")


def _line(row: dict[str, object]) -> str:
    return f"| {row['name']} | {row['validation']:.2%} | {row['training']:.2%} | {row['logits_rms']:.3f} |"


if __name__ == "__main__":
    main()
