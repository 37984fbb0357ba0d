"""The export: converts a checkpoint, checks the models, and writes either all files or none."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_export.artifacts import all_files, publish, refuse_others, write_variants
from fmnist_export.calibration import calibrate
from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import Evaluation, Evaluator
from fmnist_export.evidence import collect_evidence, refuse_foreign_evidence, refuse_stale_evidence
from fmnist_export.gate import gate_failures
from fmnist_export.graph import count_macs
from fmnist_export.metadata import build_metadata
from fmnist_export.quantization.fallback import FallbackSearch
from fmnist_export.quantization.integer_form import to_integer_form
from fmnist_export.quantization.quantize import describe_calibration, quantize
from fmnist_export.quantization.sensitivity import largest_drops, signal_to_noise
from fmnist_export.settings import ExportOptions, Limits, QuantizationSettings
from fmnist_export.variants import Variant, to_half
from fmnist_runtime.console import counted, printable
from fmnist_runtime.errors import CheckpointError, GateError
from fmnist_runtime.files import check_folder
from fmnist_train.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from fmnist_train.data.seen import hash_images, report_seen, stored_seen
from fmnist_train.data.sources import DataSource, Split, find_dataset, refuse_as_output, split_validation
from fmnist_train.files import temporary_folder
from fmnist_train.training.run import SPLIT_SEED

__all__ = ["ExportOptions", "export"]

logger = logging.getLogger(__name__)

_VALIDATION_SHARE = 0.1
"""Share of the training images that is used for validation if the network was trained on another data set."""
_PROBES = 64
"""Number of test images on which the noise of layers is measured after a failed export."""
_FEW = 500
"""Number of test images below which the message of a failed export states the share of one image: limits may be smaller."""

Progress = Callable[[dict[str, Any]], None]
"""Function that receives each row of a fallback search's curve."""


@dataclass(frozen=True)
class _Inputs:
    """Inputs of all steps."""

    checkpoint: Checkpoint
    """Trained network with its description."""
    dataset: str
    """Name of the data set."""
    labels: list[str]
    """Class names."""
    validation: Split
    """Validation images."""
    test: Split
    """Test images."""
    calibration_images: np.ndarray
    """Images for the quantization, uint8 ``[N, 28, 28]``."""
    temperature: float
    """Divisor of the logits."""
    reject: dict[str, Any]
    """Reject rule, as ``fit_reject`` returns it."""


def export(checkpoint_path: Path, options: ExportOptions, progress: Progress = lambda row: None) -> dict[str, Any]:
    """Exports a checkpoint: converts it, compares the models with it, and then writes the files.

    Args:
        checkpoint_path: Run folder or checkpoint.
        options: What to export.
        progress: See ``Progress``.

    Returns:
        The content of ``parity.json``, ``folder``, and ``removed``: names of models with other weights, of an earlier export,
        that were removed. ``parity.txt`` is the content of ``parity.json`` as text.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, or has other classes than the data set; or the metrics of its run
            are damaged or of other weights.
        ConfigError: The output folder has a model or evidence that no export wrote, evidence of other weights, or the data
            set's images.
        FileError: The output folder cannot be written into.
        OSError: A file, or the temporary ones, cannot be written, for example because the disk is full.
        GateError: A limit was exceeded; nothing is written.
    """
    folder = options.output or find_checkpoint(checkpoint_path).parent / "export"
    refuse_as_output(folder, options.data)
    check_folder(folder)
    refuse_others(folder)
    if options.evidence:
        refuse_foreign_evidence(find_checkpoint(checkpoint_path).parent, folder)
    inputs = _prepare(checkpoint_path, options)
    if not options.evidence:
        refuse_stale_evidence(folder, inputs.checkpoint.sha256)
    variants = _convert(inputs, half=options.half)
    if options.quantize:
        variants["int8"] = _quantize(inputs, variants["float32"], options.quantization)
    evaluator = _evaluator(inputs, inputs.test, options.limits)
    evaluation = evaluator.evaluate(variants)
    variants, evaluation, curve = _pass_gate(
        inputs, variants, evaluation, evaluator, options=options, progress=progress
    )
    with temporary_folder() as staged:
        report = _write(inputs, variants, evaluation, staged, ort=options.ort) | {"rescue": curve}
        evidence = collect_evidence(inputs.checkpoint.path.parent, folder, report) if options.evidence else ({}, ())
        removed = publish(staged, folder, report, evidence)
    return {**report, "folder": str(folder), "removed": removed}


def _prepare(checkpoint_path: Path, options: ExportOptions) -> _Inputs:
    """Loads the network and the images, and fits the temperature and the reject rule."""
    checkpoint = load_checkpoint(checkpoint_path)
    source = find_dataset(options.data, options.data_dir)
    labels = list(checkpoint.info["labels"])
    if list(source.labels) != labels:
        raise CheckpointError(f"{checkpoint.path} was trained on other classes than {source.name} has; name its --data")
    train, validation = _splits(checkpoint, source)
    test = source.load("test")
    report_seen(test, stored_seen(checkpoint.info, checkpoint.path), source.origin)
    temperature, reject = calibrate(checkpoint, validation, options.reject_score)
    return _Inputs(
        checkpoint=checkpoint,
        dataset=source.name,
        labels=labels,
        validation=validation,
        test=test,
        calibration_images=_calibration_images(train, options.quantization),
        temperature=temperature,
        reject=reject,
    )


def _splits(checkpoint: Checkpoint, source: DataSource) -> tuple[Split, Split]:
    """Returns the training images, and the validation images, which training did not use; if it used all, all images.

    Images that were added after a training on own images have changed the draw of its validation images. These are then
    replaced by the added ones.
    """
    images = source.load("train")
    own = checkpoint.info["dataset"] == source.name
    share = checkpoint.info["recipe"]["validation"] if own else _VALIDATION_SHARE
    train, validation = split_validation(images, share, SPLIT_SEED)
    seen = stored_seen(checkpoint.info, checkpoint.path)
    added = ~np.isin(hash_images(images.images), seen) if own and len(seen) else np.zeros(len(images), bool)
    if added.any() and len(validation):
        number = counted(int(added.sum()), "image was", "images were")
        where = printable(source.origin)
        logger.warning(
            "%s: %s added after the training; the probabilities and the threshold of rejection are fitted to these alone: "
            "train again to use all",
            where,
            number,
        )
        return images.take(~added), images.take(added)
    return train, validation if len(validation) else images


def _calibration_images(train: Split, settings: QuantizationSettings) -> np.ndarray:
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.images]
    return train.images[np.sort(chosen)]


def _convert(inputs: _Inputs, *, half: bool) -> dict[str, Variant]:
    """Returns the float models by precision."""
    model = to_onnx(inputs.checkpoint.model, inputs.temperature)
    return {"float32": Variant(model)} | ({"float16": Variant(to_half(model))} if half else {})


def _quantize(inputs: _Inputs, float32: Variant, settings: QuantizationSettings) -> Variant:
    """Returns the int8 model; it is made from the network's integer form if there is one."""
    network, images = to_integer_form(inputs.checkpoint.model), inputs.calibration_images
    model = float32.model if network is None else to_onnx(network, inputs.temperature)
    return Variant(quantize(model, images, settings), describe_calibration(images, settings), model)


def _evaluator(inputs: _Inputs, split: Split, limits: Limits) -> Evaluator:
    return Evaluator(inputs.checkpoint.model, split, inputs.labels, limits.max_latency_ratio)


def _pass_gate(
    inputs: _Inputs,
    variants: dict[str, Variant],
    evaluation: Evaluation,
    evaluator: Evaluator,
    *,
    options: ExportOptions,
    progress: Progress,
) -> tuple[dict[str, Variant], Evaluation, list[dict[str, Any]]]:
    """Returns variants that keep all limits, their figures, and the curve of the search for them (empty without one).

    Raises:
        GateError: A limit is exceeded, also after the search where one was allowed.
    """
    failures = gate_failures(evaluation.comparisons, options.limits, evaluation.latency, inputs.labels)
    floats = {precision: found for precision, found in evaluation.comparisons.items() if precision != "int8"}
    curve: list[dict[str, Any]] = []
    if failures and options.rescue and not gate_failures(floats, options.limits):
        search = _fallback_search(inputs, variants, evaluator, options, progress)
        found, curve = search.run(), search.curve
        if found is not None:
            return *found, curve
    if failures:
        raise GateError(_explain(failures, variants, inputs.test.images, curve))
    return variants, evaluation, curve


def _fallback_search(
    inputs: _Inputs, variants: dict[str, Variant], evaluator: Evaluator, options: ExportOptions, progress: Progress
) -> FallbackSearch:
    return FallbackSearch(
        network=to_integer_form(inputs.checkpoint.model) or inputs.checkpoint.model,
        variants=variants,
        images=inputs.calibration_images,
        settings=options.quantization,
        validation=_evaluator(inputs, inputs.validation, options.limits),
        test=evaluator,
        limits=options.limits,
        labels=inputs.labels,
        temperature=inputs.temperature,
        report=progress,
    )


def _write(
    inputs: _Inputs, variants: dict[str, Variant], evaluation: Evaluation, folder: Path, *, ort: bool
) -> dict[str, Any]:
    """Writes the files into a folder and returns the content of ``parity.json``, without ``rescue``."""
    macs = count_macs(variants["float32"].model)
    metadata = build_metadata(inputs.checkpoint, macs, inputs.temperature, inputs.reject)
    files = write_variants(variants, evaluation, metadata, inputs.test, folder=folder, ort=ort)
    return {
        "dataset": inputs.dataset,
        "checkpoint_sha256": inputs.checkpoint.sha256,
        "model": metadata["model"],
        "accuracy": evaluation.accuracy,
        "comparisons": evaluation.comparisons,
        "latency": evaluation.latency,
        "files": files,
        "sizes": [{key: file[key] for key in ("file", "bytes", "compressed")} for file in all_files(files)],
    }


def _explain(failures: list[str], variants: dict[str, Variant], images: np.ndarray, curve: list[dict[str, Any]]) -> str:
    """Returns the message of a failed gate, with the layers of int8 that add most noise."""
    text = "the export did not pass, nothing was written: " + "; ".join(failures)
    if len(images) < _FEW:
        text += f"; one of the {len(images)} test images is {1 / len(images):.1%}"
    if curve:
        text += f"; --rescue tried {len(curve) - 1} other candidates, and none passed"
    if "int8" in variants and (float_model := variants["int8"].float_model) is not None:
        with contextlib.suppress(Exception):  # the message is complete without the layers
            ratios = signal_to_noise(float_model, variants["int8"].model, images[:_PROBES])
            drops = largest_drops(float_model, ratios, count=3)
            text += "; layers that add most noise (signal-to-noise ratio before and after): "
            text += ", ".join(f"{name} ({before:.0f} to {after:.0f} dB)" for name, before, after in drops)
    return text
