"""The whole stage: checkpoint to proven files, or no files at all."""

import contextlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from fmnist_export.calibrate import fit_reject, fit_temperature, photographed
from fmnist_export.convert import to_onnx
from fmnist_export.gate import Limits, accuracy, compare, judge, run_all
from fmnist_export.quantise import Quantisation, executed_operators, quantise, signal_to_noise
from fmnist_export.stamp import images_sha256, stamp
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import CheckpointError, GateError
from fmnist_runtime.selftest import Golden, pack_golden
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.checkpoint import Checkpoint, load_checkpoint
from fmnist_train.data import DataSource, Split, find_dataset, split_validation
from fmnist_train.evaluate import predict_logits
from fmnist_train.files import write_atomically
from fmnist_train.models import Normalise, count_parameters
from fmnist_train.run import SPLIT_SEED

__all__ = ["FILES", "ExportOptions", "export"]

FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
_GOLDEN_IMAGES = 8
_LICENCE = "MIT, both the weights and Fashion-MNIST (Zalando SE)"


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


def export(checkpoint_path: Path, options: ExportOptions) -> dict[str, Any]:
    """Export a checkpoint, prove that the files answer as it does, and only then put them in place.

    Returns:
        The content of ``parity.json``.

    Raises:
        GateError: the proof failed; earlier files are left as they were.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    source = find_dataset(options.data, options.data_dir)
    if list(source.labels) != list(checkpoint.info["labels"]):
        raise CheckpointError(f"{checkpoint.path} was trained on other classes than {source.name} has; name its --data")
    train, validation = _splits(checkpoint, source)
    test = source.load("test")
    validation_logits = predict_logits(checkpoint.model, validation.images)
    temperature = fit_temperature(validation_logits, validation.labels)
    garments = validation_logits
    if checkpoint.info["recipe"]["augmentation"]["photo"]:
        garments = np.concatenate([garments, predict_logits(checkpoint.model, photographed(validation, source.labels))])
    document = _document(checkpoint, temperature, fit_reject(garments, temperature, options.reject_score))
    models = {"float32": to_onnx(checkpoint.model, temperature)}
    calibration = {"float32": None}
    if options.quantise:
        settings = options.quantisation
        chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.images]
        images = train.images[np.sort(chosen)]
        models["int8"] = quantise(models["float32"], images, settings)
        calibration["int8"] = {
            "method": settings.calibration,
            "target": settings.target,
            "images": len(images),
            "sha256": images_sha256(images),
        }
    logits = {"pytorch": predict_logits(checkpoint.model, test.images)}
    folder = options.output or checkpoint.path.parent / "export"
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch)
        for precision, model in models.items():
            fields = {**document, "precision": precision, "calibration": calibration[precision]}
            _write(staged / FILES[precision], model, fields)
            logits[precision] = run_all(Classifier.load(staged / FILES[precision]), test.images)
        report = _report(checkpoint, source, logits, test, models, staged)
        faults = judge(report["comparisons"], options.limits)
        if faults:
            raise GateError(_explain(faults, models, test))
        for precision, model in models.items():
            golden = _golden(test, logits[precision], exact=precision == "int8")
            fields = {
                **document,
                "precision": precision,
                "calibration": calibration[precision],
                "accuracy": report["accuracy"],
                "parity": report["comparisons"],
                "selftest": golden,
            }
            _write(staged / FILES[precision], model, fields)
            Classifier.load(staged / FILES[precision])  # what goes out must load
            report["files"][precision]["bytes"] = (staged / FILES[precision]).stat().st_size
        for precision in models:
            write_atomically(folder / FILES[precision], (staged / FILES[precision]).read_bytes())
    write_atomically(folder / "parity.json", json.dumps(report, indent=2) + "\n")
    report["folder"] = str(folder)
    return report


def _splits(checkpoint: Checkpoint, source: DataSource) -> tuple[Split, Split]:
    """The training images, and the validation images that training never saw (all training images if it saw all)."""
    everything = source.load("train")
    train, validation = split_validation(everything, checkpoint.info["recipe"]["validation"], SPLIT_SEED)
    return train, validation if len(validation) else everything


def _document(checkpoint: Checkpoint, temperature: float, reject: dict[str, Any]) -> dict[str, Any]:
    info = checkpoint.info
    normalise = next(m for m in checkpoint.model.modules() if isinstance(m, Normalise))
    return {
        "labels": info["labels"],
        "input": {
            "name": "image",
            "dtype": "uint8",
            "shape": ["N", 1, IMAGE_SIZE, IMAGE_SIZE],
            "mean": normalise.mean,
            "std": normalise.std,
            "convention": "light garment on black ground; 0 is ground",
        },
        "model": {**info["model"], "parameters": count_parameters(checkpoint.model)},
        "temperature": temperature,
        "reject": reject,
        "training": {
            "recipe": info["recipe"],
            "seed": info["seed"],
            "dataset": info["dataset"],
            "epoch": info["epoch"],
        },
        "checkpoint_sha256": checkpoint.sha256,
        "versions": {
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
            },
        },
        "licence": _LICENCE,
    }


def _write(path: Path, model: ModelProto, document: dict[str, Any]) -> None:
    path.write_bytes(stamp(model, document))


def _golden(test: Split, logits: np.ndarray, *, exact: bool) -> dict[str, Any]:
    """The first image of each class, up to a handful, with its logits."""
    chosen = np.sort(np.unique(test.labels, return_index=True)[1])[:_GOLDEN_IMAGES]
    return pack_golden(Golden(test.images[chosen, None], logits[chosen], 0.0 if exact else 1e-3))


def _report(
    checkpoint: Checkpoint,
    source: DataSource,
    logits: dict[str, np.ndarray],
    test: Split,
    models: dict[str, ModelProto],
    staged: Path,
) -> dict[str, Any]:
    files = {}
    for precision in models:
        data = (staged / FILES[precision]).read_bytes()
        files[precision] = {"file": FILES[precision], "operators": dict(executed_operators(data))}
    return {
        "checkpoint_sha256": checkpoint.sha256,
        "dataset": source.name,
        "accuracy": {name: accuracy(values, test.labels) for name, values in logits.items()},
        "comparisons": {name: compare(logits["pytorch"], logits[name], test.labels) for name in models},
        "files": files,
    }


def _explain(faults: list[str], models: dict[str, ModelProto], test: Split) -> str:
    text = "the export did not pass, nothing was written: " + "; ".join(faults)
    if "int8" in models:
        with contextlib.suppress(Exception):  # the reason stands already; where it comes from is a help, no duty
            worst = list(signal_to_noise(models["float32"], models["int8"], test.images[:64]).items())[:3]
            text += "; noisiest layers: " + ", ".join(f"{name} {ratio:.1f} dB" for name, ratio in worst)
    return text


def copy_evidence(run: Path, folder: Path) -> None:
    """Put a run's checkpoint, metrics, history and pictures beside the exported files."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("best.*", "metrics.json", "history.*", "*.png"):
        for path in sorted(run.glob(pattern)):
            shutil.copyfile(path, folder / path.name)
