"""Proven forms into files that say what was proven."""

from pathlib import Path
from typing import Any

import numpy as np

from fmnist_export.evaluation import FILES, Form, Judge, Outcome, about_file, stage
from fmnist_export.gate import run_all
from fmnist_export.graph import count_macs, executed_operators
from fmnist_export.metadata import golden, prove, tolerance
from fmnist_export.variants import to_ort
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import GateError, ModelError
from fmnist_runtime.files import write_atomically
from fmnist_runtime.model_file.store import MODEL_DIR, read_model
from fmnist_runtime.selftest import selftest

__all__ = ["all_files", "publish_model", "write_forms"]


def write_forms(outcome: Outcome, forms: dict[str, Form], judge: Judge, staged: Path, *, ort: bool) -> dict[str, Any]:
    """Write forms that have passed into files, with what was found of them.

    Args:
        outcome: what ``judge`` said of ``forms``.
        forms: by precision.
        judge: of the test images.
        staged: folder of the files.
        ort: whether float32 and int8 are written in the ORT format, too.

    Returns:
        The part of ``parity.json`` that does not depend on how they came about.

    Raises:
        GateError: an ORT file does not compute the same.
    """
    files: dict[str, dict[str, Any]] = {}
    for precision, form in forms.items():
        document = {
            **judge.document,
            "model": {**judge.document["model"], "macs": count_macs(form.model)},  # arranged for integers: others
            "accuracy": outcome.accuracy,
            "parity": outcome.comparisons,
            "selftest": golden(judge.split, outcome.logits[precision], tolerance(precision, form.calibration)),
            "proof": prove(judge.split, outcome.logits["pytorch"], outcome.logits[precision]),
        }
        path = staged / FILES[precision]
        stage(path, form, precision, document)  # what goes out must load
        files[precision] = about_file(path) | {"operators": dict(executed_operators(path.read_bytes()))}
        # A float16 file would be written in float32 by a processor that has no float16 kernels.
        if ort and precision != "float16":
            allowed = document["selftest"]["tolerance"]
            files[precision]["ort"] = _write_ort(path, allowed, judge, outcome.logits[precision])
    return {
        "checkpoint_sha256": judge.document["checkpoint_sha256"],
        "model": judge.document["model"],
        "accuracy": outcome.accuracy,
        "comparisons": outcome.comparisons,
        "latency": outcome.latency,
        "files": files,
        "sizes": [{key: about[key] for key in ("file", "bytes", "compressed")} for about in all_files(files)],
    }


def _write_ort(path: Path, tolerance: float, judge: Judge, expected: np.ndarray) -> dict[str, Any]:
    """Write a proven ONNX file in the ORT format beside it.

    Raises:
        GateError: it does not compute the same.
    """
    beside = path.with_suffix(".ort")
    beside.write_bytes(to_ort(path.read_bytes()))
    difference = float(np.abs(run_all(Classifier.load(beside), judge.split.images) - expected).max())
    if not difference <= tolerance:
        raise GateError(
            f"{beside.name} computes other logits than {path.name}, by {difference:g}; export without --ort"
        )
    return about_file(beside)


def all_files(files: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each file's entry, those in the ORT format behind their ONNX files."""
    return [about for entry in files.values() for about in (entry, entry.get("ort")) if about]


def publish_model(folder: Path, embedded: Path = MODEL_DIR) -> Path:
    """Copy a folder's int8 model into the runtime package, under the folder's name.

    The package holds copies, not links to ``artifacts/``: an editable install and a source tree without installation
    both find them without a build step. A test compares the copies with the artifacts.

    Args:
        folder: holds ``model.int8.onnx`` and ``SHA256SUMS``, as the export writes them.
        embedded: folder of the embedded models.

    Returns:
        The written file.

    Raises:
        ModelError: missing, damaged, not the listed file, or it fails its self-test.
    """
    source = folder / FILES["int8"]
    data = read_model(source)
    if not selftest(Classifier.load(source)).passed:
        raise ModelError(f"{source}: fails its self-test on this machine, so it is not published")
    target = embedded / f"{folder.resolve().name}.onnx"
    write_atomically(target, data)
    return target
