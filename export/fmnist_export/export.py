"""The whole stage: checkpoint to proven files, or no files at all."""

import contextlib
import hashlib
import json
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from fmnist_export.calibrate import fit_reject, fit_temperature, photographed
from fmnist_export.convert import to_onnx
from fmnist_export.document import describe, golden, prove
from fmnist_export.gate import accuracy, compare, judge, run_all
from fmnist_export.graph import count_macs, executed_operators, signal_to_noise
from fmnist_export.integer_form import for_integers
from fmnist_export.quantise import quantise
from fmnist_export.settings import Limits, Quantisation
from fmnist_export.speed import judge_latency
from fmnist_export.stamp import arrays_sha256, stamp
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import CheckpointError, GateError
from fmnist_runtime.store import SUMS
from fmnist_train.checkpoint import Checkpoint, load_checkpoint
from fmnist_train.data import DataSource, Split, find_dataset, split_validation
from fmnist_train.evaluate import predict_logits
from fmnist_train.files import write_atomically
from fmnist_train.run import SPLIT_SEED

__all__ = ["FILES", "ExportOptions", "export"]

FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}


@dataclass(frozen=True)
class ExportOptions:
    """What to export and what to demand of it."""

    output: Path | None = None
    """Folder of the files; by default ``export`` in the run's folder."""
    quantise: bool = False
    quantisation: Quantisation = field(default_factory=Quantisation)
    limits: Limits = field(default_factory=Limits)
    reject_score: str = "max_probability"
    data: str = "fashion-mnist"
    data_dir: Path | None = None


@dataclass(frozen=True)
class _Form:
    """One model on its way into a file."""

    model: ModelProto
    calibration: dict[str, Any] | None = None
    origin: ModelProto | None = None
    """Of a quantised model, what it was in float; its tensors have the same names."""


def export(checkpoint_path: Path, options: ExportOptions) -> dict[str, Any]:
    """Export a checkpoint, prove that the files answer as it does, and only then put them in place.

    Returns:
        The content of ``parity.json``, and ``folder``.

    Raises:
        GateError: the proof failed; earlier files are left as they were.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    source = find_dataset(options.data, options.data_dir)
    if list(source.labels) != list(checkpoint.info["labels"]):
        raise CheckpointError(f"{checkpoint.path} was trained on other classes than {source.name} has; name its --data")
    train, validation = _splits(checkpoint, source)
    temperature, reject = _fit(checkpoint, validation, options.reject_score)
    forms = {"float32": _Form(to_onnx(checkpoint.model, temperature))}
    if options.quantise:
        arranged = for_integers(checkpoint.model)
        origin = forms["float32"].model if arranged is None else to_onnx(arranged, temperature)
        forms["int8"] = _int8(origin, train, options.quantisation)
    document = describe(checkpoint, count_macs(forms["float32"].model), temperature, reject)
    folder = options.output or checkpoint.path.parent / "export"
    with tempfile.TemporaryDirectory() as scratch:
        report = _prove(checkpoint, source, forms, document, options.limits, Path(scratch))
        _publish(Path(scratch), folder, report)
    return {**report, "folder": str(folder)}


def _splits(checkpoint: Checkpoint, source: DataSource) -> tuple[Split, Split]:
    """The training images, and the validation images that training never saw (all training images if it saw all).

    Of a data set that the checkpoint never saw, a tenth.
    """
    everything = source.load("train")
    own = checkpoint.info["dataset"] == source.name
    train, validation = split_validation(
        everything, checkpoint.info["recipe"]["validation"] if own else 0.1, SPLIT_SEED
    )
    return train, validation if len(validation) else everything


def _fit(checkpoint: Checkpoint, validation: Split, score: str) -> tuple[float, dict[str, Any]]:
    """The temperature, and the reject rule; photographed garments have their say where training knew them."""
    logits = garments = predict_logits(checkpoint.model, validation.images)
    temperature = fit_temperature(logits, validation.labels)
    if checkpoint.info["recipe"]["augmentation"]["photo"]:
        changed = photographed(validation, checkpoint.info["labels"])
        garments = np.concatenate([garments, predict_logits(checkpoint.model, changed)])
    return temperature, fit_reject(garments, temperature, score)


def _int8(model: ModelProto, train: Split, settings: Quantisation) -> _Form:
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.images]
    images = train.images[np.sort(chosen)]
    about = {
        "method": settings.calibration,
        "target": settings.target,
        "images": len(images),
        "sha256": arrays_sha256(images),
    }
    return _Form(quantise(model, images, settings), about, model)


def _prove(
    checkpoint: Checkpoint,
    source: DataSource,
    forms: dict[str, _Form],
    document: dict[str, Any],
    limits: Limits,
    staged: Path,
) -> dict[str, Any]:
    """Write all forms into ``staged`` and hold them against PyTorch on the test set.

    Raises:
        GateError: one of them does not pass.
    """
    test = source.load("test")
    logits = {"pytorch": predict_logits(checkpoint.model, test.images)}
    fields = {p: {**document, "precision": p, "calibration": form.calibration} for p, form in forms.items()}
    loaded = {p: _stage(staged / FILES[p], form.model, fields[p]) for p, form in forms.items()}
    logits |= {p: run_all(classifier, test.images) for p, classifier in loaded.items()}
    comparisons = {p: compare(logits["pytorch"], logits[p], test.labels) for p in forms}
    accuracies = {name: accuracy(values, test.labels) for name, values in logits.items()}
    latency = None
    if "int8" in forms and limits.max_latency_ratio is not None:
        latency = judge_latency(loaded["float32"], loaded["int8"], test.images[0], limits.max_latency_ratio)
    faults = judge(comparisons, limits, latency, list(source.labels))
    if faults:
        raise GateError(_explain(faults, forms, test))
    files = {}
    for precision, form in forms.items():
        fields[precision] |= {
            "accuracy": accuracies,
            "parity": comparisons,
            "selftest": golden(test, logits[precision], exact=precision == "int8"),
            "proof": prove(test, logits["pytorch"], logits[precision]),
        }
        _stage(staged / FILES[precision], form.model, fields[precision])  # what goes out must load
        files[precision] = _about_file(staged / FILES[precision])
    return {
        "checkpoint_sha256": checkpoint.sha256,
        "dataset": source.name,
        "model": document["model"],
        "accuracy": accuracies,
        "comparisons": comparisons,
        "latency": latency,
        "files": files,
    }


def _stage(path: Path, model: ModelProto, document: dict[str, Any]) -> Classifier:
    path.write_bytes(stamp(model, document))
    return Classifier.load(path)


def _about_file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "file": path.name,
        "bytes": len(data),
        "compressed": len(zlib.compress(data, 9)),
        "sha256": hashlib.sha256(data).hexdigest(),
        "operators": dict(executed_operators(data)),
    }


def _publish(staged: Path, folder: Path, report: dict[str, Any]) -> None:
    """Put the proven files in place, the float model first, and then the sums and figures that vouch for them."""
    for about in report["files"].values():
        write_atomically(folder / about["file"], (staged / about["file"]).read_bytes())
    sums = {about["file"]: about["sha256"] for about in report["files"].values()}
    if (folder / SUMS).is_file():  # a file of an earlier export keeps its line
        lines = (line.split(maxsplit=1) for line in (folder / SUMS).read_text("utf-8").splitlines())
        sums = {line[1].lstrip("*"): line[0] for line in lines if len(line) == 2} | sums
    write_atomically(folder / SUMS, "".join(f"{digits}  {name}\n" for name, digits in sums.items()))
    write_atomically(folder / "parity.json", json.dumps(report, indent=2) + "\n")


def _explain(faults: list[str], forms: dict[str, _Form], test: Split) -> str:
    text = "the export did not pass, nothing was written: " + "; ".join(faults)
    if "int8" in forms:
        with contextlib.suppress(Exception):  # the reason stands already; where it comes from is a help, no duty
            ratios = signal_to_noise(forms["int8"].origin, forms["int8"].model, test.images[:64])
            text += "; noisiest layers: " + ", ".join(f"{name} {db:.1f} dB" for name, db in list(ratios.items())[:3])
    return text
