"""Does an int8 file give the same logits, to the bit, on every class of processor?

    python benchmarks/portability.py [--model FILE] [--images N] [--arm64 FOLDER]

Replays test images here and under qemu's user-mode emulation (Debian: qemu-user-static) of processors without VNNI,
without AVX2, without AVX, and of 64-bit Arm. The Arm row needs an unpacked arm64 userland: ``benchmarks/arm64_root.sh
FOLDER`` makes one. Exit code 3: the logits differ somewhere.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from fmnist_runtime.store import find_model

REPLAY = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
images = np.load(sys.argv[2])
logits = [session.run(["logits"], {"image": images[i : i + 50]})[0] for i in range(0, len(images), 50)]
np.save(sys.argv[3], np.concatenate(logits))
print(onnxruntime.__version__)
"""


@dataclass(frozen=True)
class Processor:
    """One class of processors, and qemu's name of a member; None is this machine itself."""

    name: str
    machine: str = "x86_64"
    emulated: str | None = None


PROCESSORS = (
    Processor("this machine", os.uname().machine),
    Processor("x86-64 with AVX2, no VNNI (Haswell)", "x86_64", "Haswell"),
    Processor("x86-64 with AVX (Sandy Bridge)", "x86_64", "SandyBridge"),
    Processor("x86-64 with SSE4.2 (Nehalem)", "x86_64", "Nehalem"),
    Processor("ARM64 (Cortex-A72)", "aarch64", "cortex-a72"),
)


def command(processor: Processor, arm64: Path | None) -> list[str] | str:
    """How to start Python there, or why it cannot be."""
    python = str(Path(sys.executable).resolve())
    if processor.emulated is None:
        return [sys.executable]
    qemu = shutil.which(f"qemu-{processor.machine}-static")
    if qemu is None:
        return "qemu-user-static is not installed"
    if processor.machine == os.uname().machine:
        paths = os.pathsep.join(p for p in sys.path if p)
        return [qemu, "-cpu", processor.emulated, "-E", f"PYTHONPATH={paths}", python]
    if arm64 is None:
        return "no arm64 userland: benchmarks/arm64_root.sh makes one, --arm64 names it"
    packages, libraries = arm64 / "usr/lib/python3/dist-packages", arm64 / "usr/lib/aarch64-linux-gnu"
    variables = {"PYTHONHOME": arm64 / "usr", "PYTHONPATH": packages, "LD_LIBRARY_PATH": libraries}
    settings = [part for key, value in variables.items() for part in ("-E", f"{key}={value}")]
    return [qemu, "-cpu", processor.emulated, "-L", str(arm64), *settings, str(arm64 / "usr/bin/python3.11")]


def replay(processor: Processor, model: Path, images: np.ndarray, arm64: Path | None = None) -> dict[str, object]:
    """Logits of uint8 ``[N, 1, 28, 28]`` images on a processor.

    Returns:
        ``logits`` (float32 ``[N, classes]``), ``onnxruntime`` (its version) and ``seconds``; or ``missing``, a reason.
    """
    start = command(processor, arm64)
    if isinstance(start, str):
        return {"missing": start}
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "images.npy", Path(folder) / "logits.npy"
        np.save(given, images)
        begin = time.perf_counter()
        arguments = [*start, "-c", REPLAY, str(model), str(given), str(found)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            return {"missing": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
        return {
            "logits": np.load(found),
            "onnxruntime": done.stdout.split()[-1],
            "seconds": time.perf_counter() - begin,
        }


def table(model: Path, images: np.ndarray, labels: np.ndarray, arm64: Path | None) -> list[dict[str, object]]:
    """A row for each processor: ``name``, and ``missing`` or what differs from the first."""
    rows, reference = [], None
    for processor in PROCESSORS:
        found = replay(processor, model, images, arm64)
        if "missing" in found:
            rows.append({"name": processor.name, **found})
            continue
        logits = found.pop("logits")
        reference = logits if reference is None else reference
        rows.append(
            {
                "name": processor.name,
                **found,
                "accuracy": float((logits.argmax(axis=1) == labels).mean()),
                "different_logits": int((logits != reference).sum()),
                "same_bits": logits.tobytes() == reference.tobytes(),
                "sha256": hashlib.sha256(logits.tobytes()).hexdigest(),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="int8 file, folder, or embedded model by name")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--arm64", type=Path, help="unpacked arm64 userland")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from fmnist_train.data import find_dataset

    test = find_dataset("sample").load("test")
    count = min(options.images, len(test))
    rows = table(find_model(options.model).resolve(), test.images[:count, None], test.labels[:count], options.arm64)
    if options.json:
        print(json.dumps({"images": count, "onnxruntime": onnxruntime.__version__, "rows": rows}))
    else:
        for row in rows:
            outcome = f"not run: {row['missing']}" if "missing" in row else _outcome(row)
            print(f"{row['name']:<38}{outcome}")
    return 3 if any(row.get("same_bits") is False for row in rows) else 0


def _outcome(row: dict[str, object]) -> str:
    bits = "same bits" if row["same_bits"] else f"{row['different_logits']} logits DIFFER"
    return f"{bits:<22}{row['accuracy']:8.2%}   onnxruntime {row['onnxruntime']:<9}{row['seconds']:6.1f} s"


if __name__ == "__main__":
    sys.exit(main())
