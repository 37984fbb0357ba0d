"""The whole stage: checkpoint to proven files, or no files at all."""

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_export.calibrate import fit_reject, fit_temperature, photographed
from fmnist_export.convert import to_onnx
from fmnist_export.document import describe, golden, prove, tolerance
from fmnist_export.gate import run_all
from fmnist_export.graph import count_macs, executed_operators, signal_to_noise
from fmnist_export.integer_form import for_integers
from fmnist_export.proof import FILES, Form, Judge, Outcome, about_file, stage
from fmnist_export.quantise import describe_calibration, quantise
from fmnist_export.rescue import Walk
from fmnist_export.settings import Limits, Quantisation
from fmnist_export.show import show_export
from fmnist_export.variants import to_half, to_ort
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import CheckpointError, GateError
from fmnist_runtime.store import SUMS
from fmnist_train.checkpoint import Checkpoint, load_checkpoint
from fmnist_train.data import DataSource, Split, find_dataset, split_validation
from fmnist_train.evaluate import predict_logits
from fmnist_train.files import write_atomically
from fmnist_train.run import SPLIT_SEED

__all__ = ["ExportOptions", "export"]


@dataclass(frozen=True)
class ExportOptions:
    """What to export and what to demand of it."""

    output: Path | None = None
    """Folder of the files; by default ``export`` in the run's folder."""
    quantise: bool = False
    quantisation: Quantisation = field(default_factory=Quantisation)
    limits: Limits = field(default_factory=Limits)
    half: bool = False
    """Write a float16 model, too."""
    ort: bool = False
    """Write the float32 and int8 models in onnxruntime's ORT format, too."""
    rescue: bool = False
    """Where int8 fails: look for other ways to quantise that pass."""
    reject_score: str = "max_probability"
    data: str = "fashion-mnist"
    data_dir: Path | None = None


def export(
    checkpoint_path: Path, options: ExportOptions, progress: Callable[[dict[str, Any]], None] = lambda row: None
) -> dict[str, Any]:
    """Export a checkpoint, prove that the files answer as it does, and only then put them in place.

    Args:
        checkpoint_path: run folder or checkpoint.
        options: what, and how.
        progress: called with each row of the curve that a rescue walks (see ``Walk``).

    Returns:
        The content of ``parity.json`` (``parity.txt`` is the same for people), and ``folder``.

    Raises:
        GateError: the proof failed; earlier files are left as they were.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    source = find_dataset(options.data, options.data_dir)
    if list(source.labels) != list(checkpoint.info["labels"]):
        raise CheckpointError(f"{checkpoint.path} was trained on other classes than {source.name} has; name its --data")
    train, validation = _splits(checkpoint, source)
    temperature, reject = _fit(checkpoint, validation, options.reject_score)
    images = _calibration_images(train, options.quantisation)
    network = for_integers(checkpoint.model) or checkpoint.model
    forms = {"float32": Form(to_onnx(checkpoint.model, temperature))}
    if options.half:
        forms["float16"] = Form(to_half(forms["float32"].model))
    if options.quantise:
        origin = forms["float32"].model if network is checkpoint.model else to_onnx(network, temperature)
        model = quantise(origin, images, options.quantisation)
        forms["int8"] = Form(model, describe_calibration(images, options.quantisation), origin)
    document = describe(checkpoint, count_macs(forms["float32"].model), temperature, reject)
    folder = options.output or checkpoint.path.parent / "export"
    with tempfile.TemporaryDirectory() as scratch:
        judges = [
            Judge(checkpoint.model, split, document, options.limits, Path(scratch))
            for split in (validation, source.load("test"))
        ]
        walk = Walk(network, forms, images, options.quantisation, (judges[0], judges[1]), progress)
        outcome = judges[1](forms)
        if options.rescue and outcome.faults and not outcome.beyond_int8:
            forms, outcome = walk.run() or (forms, outcome)
        if outcome.faults:
            raise GateError(_explain(outcome.faults, forms, judges[1].split.images, walk.curve))
        report = {
            "dataset": source.name,
            **_write(outcome, forms, judges[1], Path(scratch), ort=options.ort),
            "rescue": walk.curve or None,
        }
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


def _calibration_images(train: Split, settings: Quantisation) -> np.ndarray:
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.images]
    return train.images[np.sort(chosen)]


def _write(outcome: Outcome, forms: dict[str, Form], judge: Judge, staged: Path, *, ort: bool) -> dict[str, Any]:
    """Write all forms into ``staged``, with what was found of them; return the report."""
    files: dict[str, dict[str, Any]] = {}
    for precision, form in forms.items():
        document = {
            **judge.document,
            "accuracy": outcome.accuracy,
            "parity": outcome.comparisons,
            "selftest": golden(judge.split, outcome.logits[precision], tolerance(precision, form.calibration)),
            "proof": prove(judge.split, outcome.logits["pytorch"], outcome.logits[precision]),
        }
        path = staged / FILES[precision]
        stage(path, form, precision, document)  # what goes out must load
        files[precision] = about_file(path) | {"operators": dict(executed_operators(path.read_bytes()))}
        if (
            ort and precision != "float16"
        ):  # onnxruntime would write it in float32 on a processor without float16 kernels
            files[precision]["ort"] = _write_ort(
                path, document["selftest"]["tolerance"], judge, outcome.logits[precision]
            )
    return {
        "checkpoint_sha256": judge.document["checkpoint_sha256"],
        "model": judge.document["model"],
        "accuracy": outcome.accuracy,
        "comparisons": outcome.comparisons,
        "latency": outcome.latency,
        "files": files,
        "sizes": [{key: about[key] for key in ("file", "bytes", "compressed")} for about in _all_files(files)],
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


def _all_files(files: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each file's entry, those in the ORT format behind their ONNX files."""
    return [about for entry in files.values() for about in (entry, entry.get("ort")) if about]


def _publish(staged: Path, folder: Path, report: dict[str, Any]) -> None:
    """Put the proven files in place, the float model first, and then the sums and figures that vouch for them."""
    written = _all_files(report["files"])
    for about in written:
        write_atomically(folder / about["file"], (staged / about["file"]).read_bytes())
    sums = {about["file"]: about["sha256"] for about in written}
    if (folder / SUMS).is_file():  # a file of an earlier export keeps its line
        lines = (line.split(maxsplit=1) for line in (folder / SUMS).read_text("utf-8").splitlines())
        sums = {line[1].lstrip("*"): line[0] for line in lines if len(line) == 2} | sums
    write_atomically(folder / SUMS, "".join(f"{digits}  {name}\n" for name, digits in sums.items()))
    write_atomically(folder / "parity.json", json.dumps(report, indent=2) + "\n")
    write_atomically(folder / "parity.txt", show_export(report) + "\n")


def _explain(faults: list[str], forms: dict[str, Form], images: np.ndarray, curve: list[dict[str, Any]]) -> str:
    text = "the export did not pass, nothing was written: " + "; ".join(faults)
    if curve:
        text += f"; --rescue tried {len(curve) - 1} other ways in vain"
    if "int8" in forms:
        with contextlib.suppress(Exception):  # the reason stands already; where it comes from is a help, no duty
            ratios = signal_to_noise(forms["int8"].origin, forms["int8"].model, images[:64])
            text += "; noisiest layers: " + ", ".join(f"{name} {db:.1f} dB" for name, db in list(ratios.items())[:3])
    return text
