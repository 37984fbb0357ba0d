"""The whole stage: checkpoint to proven files, or no files at all."""

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_export.artifacts import all_files, write_forms
from fmnist_export.calibration import PHOTO_ACCEPTANCE, fit_reject, fit_temperature, photographed
from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import FILES, Form, Judge
from fmnist_export.formatting import show_export
from fmnist_export.graph import count_macs, signal_to_noise
from fmnist_export.metadata import describe
from fmnist_export.quantization.fallback import Walk
from fmnist_export.quantization.integer_form import for_integers
from fmnist_export.quantization.quantize import describe_calibration, quantise
from fmnist_export.settings import Limits, Quantisation
from fmnist_export.variants import to_half
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import CheckpointError, GateError, ModelError
from fmnist_runtime.files import write_atomically
from fmnist_runtime.model_file.store import SUMS
from fmnist_train.checkpoint import Checkpoint, load_checkpoint
from fmnist_train.data.sources import DataSource, Split, find_dataset, split_validation
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.training.photos import unpack_logits
from fmnist_train.training.run import SPLIT_SEED

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
    reject_score: str = "certainty"
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
    forms = _forms(checkpoint, temperature, images, options)
    document = describe(checkpoint, count_macs(forms["float32"].model), temperature, reject)
    folder = options.output or checkpoint.path.parent / "export"
    with tempfile.TemporaryDirectory() as scratch:
        judge = partial(Judge, checkpoint.model, document=document, limits=options.limits, folder=Path(scratch))
        test, curve = judge(source.load("test")), []
        outcome = test(forms)
        if options.rescue and outcome.faults and not outcome.beyond_int8:
            judges = judge(validation), test
            network = for_integers(checkpoint.model) or checkpoint.model
            walk = Walk(network, forms, images, options.quantisation, judges, progress)
            (forms, outcome), curve = walk.run() or (forms, outcome), walk.curve
        if outcome.faults:
            raise GateError(_explain(outcome.faults, forms, test.split.images, curve))
        report = {
            "dataset": source.name,
            **write_forms(outcome, forms, test, Path(scratch), ort=options.ort),
            "rescue": curve,
        }
        _publish(Path(scratch), folder, report)
    return {**report, "folder": str(folder)}


def _forms(checkpoint: Checkpoint, temperature: float, images: np.ndarray, options: ExportOptions) -> dict[str, Form]:
    """The models that were asked for, by precision."""
    forms = {"float32": Form(to_onnx(checkpoint.model, temperature))}
    if options.half:
        forms["float16"] = Form(to_half(forms["float32"].model))
    if options.quantise:
        arranged = for_integers(checkpoint.model)
        origin = forms["float32"].model if arranged is None else to_onnx(arranged, temperature)
        model = quantise(origin, images, options.quantisation)
        forms["int8"] = Form(model, describe_calibration(images, options.quantisation), origin)
    return forms


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
    """The temperature, and the reject rule: from validation photos where the checkpoint has some.

    Else the rule is from validation images, of which as many are made into photographs as in training.
    """
    logits = garments = predict_logits(checkpoint.model, validation.images)
    if "photos" in checkpoint.info:
        photo_logits, answers = unpack_logits(checkpoint.info["photos"])
        temperature = fit_temperature(logits, validation.labels, (photo_logits, answers))
        return temperature, fit_reject(photo_logits[answers.any(axis=1)], temperature, score, PHOTO_ACCEPTANCE)
    temperature = fit_temperature(logits, validation.labels)
    if share := min(checkpoint.info["recipe"]["augmentation"]["photo"], 0.5):
        count = round(len(validation) * share / (1 - share))
        changed = photographed(validation.take(np.arange(count)), checkpoint.info["labels"])
        garments = np.concatenate([garments, predict_logits(checkpoint.model, changed)])
    return temperature, fit_reject(garments, temperature, score)


def _calibration_images(train: Split, settings: Quantisation) -> np.ndarray:
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.images]
    return train.images[np.sort(chosen)]


def _publish(staged: Path, folder: Path, report: dict[str, Any]) -> None:
    """Put the proven files in place, the float model first, and then the sums and figures that vouch for them."""
    written = all_files(report["files"])
    stale = _of_other_weights(folder, report["checkpoint_sha256"])
    for name in stale:  # first: whenever this is cut off, the runtime never takes one network's file for another's
        (folder / name).unlink()
    for about in written:
        write_atomically(folder / about["file"], (staged / about["file"]).read_bytes())
    sums = {about["file"]: about["sha256"] for about in written}
    if (folder / SUMS).is_file():  # another file of this network, from an earlier export, keeps its line
        lines = (line.split(maxsplit=1) for line in (folder / SUMS).read_text("utf-8").splitlines())
        earlier = {line[1].lstrip("*"): line[0] for line in lines if len(line) == 2}
        sums = {name: digits for name, digits in earlier.items() if name not in stale} | sums
    write_atomically(folder / SUMS, "".join(f"{digits}  {name}\n" for name, digits in sums.items()))
    write_atomically(folder / "parity.json", json.dumps(report, indent=2) + "\n")
    write_atomically(folder / "parity.txt", show_export(report) + "\n")


def _of_other_weights(folder: Path, checkpoint_sha256: str) -> set[str]:
    """The names of model files in the folder that say of themselves that they are another checkpoint's, or are damaged."""
    names = [name for onnx in FILES.values() for name in (onnx, Path(onnx).with_suffix(".ort").name)]
    return {name for name in names if (folder / name).is_file() and _weights(folder / name) != checkpoint_sha256}


def _weights(path: Path) -> str | None:
    try:
        return Classifier.load(path).metadata.document.get("checkpoint_sha256")
    except ModelError:
        return None


def _explain(faults: list[str], forms: dict[str, Form], images: np.ndarray, curve: list[dict[str, Any]]) -> str:
    text = "the export did not pass, nothing was written: " + "; ".join(faults)
    if curve:
        text += f"; --rescue tried {len(curve) - 1} other ways in vain"
    if "int8" in forms:
        with contextlib.suppress(Exception):  # the reason stands already; where it comes from is a help, no duty
            ratios = signal_to_noise(forms["int8"].origin, forms["int8"].model, images[:64])
            text += "; noisiest layers: " + ", ".join(f"{name} {db:.1f} dB" for name, db in list(ratios.items())[:3])
    return text
