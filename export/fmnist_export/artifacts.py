"""Writes the files of variants that passed the gate, and moves them into their folder."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_export.evaluation import Evaluation, all_logits
from fmnist_export.formatting import format_export
from fmnist_export.graph import count_macs
from fmnist_export.metadata import build_proof, build_selftest, logit_tolerance, stamp
from fmnist_export.variants import FILES, Variant, to_ort
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ConfigError, GateError, ModelError
from fmnist_runtime.files import make_folder, read_at_most, write_atomically, write_together
from fmnist_runtime.model_file.store import CHECKSUM_FILE, MAX_BYTES, NAMES_FILE, read_model
from fmnist_runtime.selftest import require_selftest, selftest
from fmnist_train.data.sources import Split
from fmnist_train.files import lock_folder, read_object

__all__ = ["all_files", "has_export", "publish", "publish_model", "refuse_others", "write_variants"]

_TABLE = "parity.txt"
_REPORT = "parity.json"
"""File that every export writes after its models: it marks a folder of an earlier export."""
_MODEL_FILES = tuple(name for onnx in FILES.values() for name in (onnx, Path(onnx).with_suffix(".ort").name))


def write_variants(
    variants: Mapping[str, Variant],
    evaluation: Evaluation,
    metadata: Mapping[str, Any],
    test: Split,
    *,
    folder: Path,
    ort: bool,
) -> dict[str, dict[str, Any]]:
    """Writes variants with their metadata into a folder, and runs the self-test of each file.

    Args:
        variants: Models by precision.
        evaluation: Figures of the variants on the test images.
        metadata: Fields that all files share.
        test: Test images.
        folder: Folder of the files.
        ort: Whether float32 and int8 models are also written in the ORT format.

    Returns:
        By precision: ``file``, ``bytes``, ``compressed`` (bytes after zlib, as in a download), ``sha256``, ``operators``, and
        with ``ort`` the first four fields of the ORT file.

    Raises:
        GateError: An ORT file computes other logits.
    """
    files: dict[str, dict[str, Any]] = {}
    for precision, variant in variants.items():
        logits = evaluation.logits[precision]
        tolerance = logit_tolerance(precision, variant.calibration)
        own = {
            "precision": precision,
            "calibration": variant.calibration,
            "model": {**metadata["model"], "macs": count_macs(variant.model)},  # differ in the integer form
            "accuracy": evaluation.accuracy,
            "parity": evaluation.comparisons,
            "selftest": build_selftest(test, logits, tolerance),
            "proof": build_proof(test, evaluation.logits["pytorch"], logits),
        }
        data = stamp(variant.model, {**metadata, **own})
        require_selftest(Classifier.from_bytes(data))
        path = folder / FILES[precision]
        path.write_bytes(data)
        files[precision] = _describe(path.name, data) | {"operators": evaluation.operators[precision]}
        # A processor without float16 kernels would write a float16 file in float32.
        if ort and precision != "float16":
            files[precision]["ort"] = _write_ort(path, data, test.images, logits, tolerance=tolerance)
    return files


def _write_ort(
    onnx: Path, data: bytes, images: np.ndarray, expected: np.ndarray, *, tolerance: float
) -> dict[str, Any]:
    """Writes an exported ONNX file in the ORT format beside it, and compares all logits.

    Raises:
        GateError: A logit differs by more than the tolerance.
    """
    path, converted = onnx.with_suffix(".ort"), to_ort(data)
    difference = float(np.abs(all_logits(Classifier.from_bytes(converted), images) - expected).max())
    if not difference <= tolerance:
        raise GateError(f"{path.name} computes other logits than {onnx.name}, by {difference:g}; export without --ort")
    path.write_bytes(converted)
    return _describe(path.name, converted)


def _describe(name: str, data: bytes) -> dict[str, Any]:
    return {
        "file": name,
        "bytes": len(data),
        "compressed": len(zlib.compress(data, 9)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def all_files(files: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the entry of each file, those in the ORT format after their ONNX files."""
    return [file for entry in files.values() for file in (entry, entry.get("ort")) if file]


def refuse_others(folder: Path) -> None:
    """Checks that no model, checksums or report of the user's would be replaced.

    Raises:
        ConfigError: The folder has such a file that no export wrote.
    """
    if has_export(folder):
        return
    models = [folder / name for name in _MODEL_FILES if (folder / name).exists()]
    foreign = [path for path in models if _checkpoint_of(path, listed=False) is None]
    sums = _listed_sums(folder / CHECKSUM_FILE)
    # With a listed model it is an export that was killed before it wrote its report, or whose report is damaged.
    if not any(path.name in sums for path in models):
        foreign += [folder / name for name in (CHECKSUM_FILE, _REPORT, _TABLE) if (folder / name).exists()]
    if foreign:
        raise ConfigError(f"{foreign[0]} exists and was not written by this command: choose another --output")


def has_export(folder: Path) -> bool:
    """Returns whether a folder has the report of an earlier export."""
    return read_object(folder / _REPORT).keys() >= {"files", "accuracy"}


def publish(
    staged: Path, folder: Path, report: dict[str, Any], evidence: tuple[Mapping[str, bytes], Sequence[str]] = ({}, ())
) -> list[str]:
    """Copies checked files into their folder: models, float first, then ``SHA256SUMS``, ``parity.json`` and ``parity.txt``.

    Files with other weights are removed first, so that the folder has files of one network only even after an interruption.

    Args:
        staged: Folder of the checked files.
        folder: Folder to fill; a file of the same network from an earlier export stays, with its line in ``SHA256SUMS``.
        report: Content of ``parity.json``.
        evidence: Further files to write, and names of files to remove before, as ``collect_evidence`` returns them.

    Returns:
        Names of the models with other weights that were removed and not replaced.

    Raises:
        ConfigError: Another process is exporting into the folder.
        FileError: The folder cannot be written into.
        OSError: A file cannot be written, for example because the disk is full. Earlier files are unchanged.
    """
    written = all_files(report["files"])
    make_folder(folder)
    with lock_folder(folder, "exporting"):
        stale = _files_of_other_weights(folder, report["checkpoint_sha256"])
        sums = {name: digits for name, digits in _listed_sums(folder / CHECKSUM_FILE).items() if name not in stale}
        sums |= {entry["file"]: entry["sha256"] for entry in written}
        contents = {entry["file"]: (staged / entry["file"]).read_bytes() for entry in written}
        contents |= {
            CHECKSUM_FILE: "".join(f"{digits}  {name}\n" for name, digits in sums.items()).encode(),
            _REPORT: f"{json.dumps(report, indent=2)}\n".encode(),
            _TABLE: f"{format_export(report)}\n".encode(),
        }
        further, of_others = evidence
        write_together(folder, {**contents, **further}, [*stale, *of_others])
    return sorted(stale - contents.keys())


def _listed_sums(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that an earlier ``SHA256SUMS`` lists; a damaged line is left out."""
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text("utf-8", errors="replace").splitlines())
    return {
        line[1].lstrip("*"): line[0] for line in lines if len(line) == 2 and line[0].isalnum() and line[1].isprintable()
    }


def _files_of_other_weights(folder: Path, checkpoint_sha256: str) -> set[str]:
    """Returns the names of model files in a folder that are damaged or were exported from another checkpoint."""
    return {
        name
        for name in _MODEL_FILES
        if (folder / name).is_file() and _checkpoint_of(folder / name) != checkpoint_sha256
    }


def _checkpoint_of(path: Path, *, listed: bool = True) -> str | None:
    """Returns the hash of the checkpoint that a model was exported from; None for other models and damaged ones.

    Args:
        path: Model file.
        listed: Whether a file that differs from its line in ``SHA256SUMS`` counts as damaged.
    """
    try:
        if listed:
            model = Classifier.load(path)
        else:
            with path.open("rb") as file:
                model = Classifier.from_bytes(read_at_most(file, MAX_BYTES))
    except (ModelError, OSError):
        return None
    return model.metadata.document.get("checkpoint_sha256")


def publish_model(folder: Path, names_file: Path = NAMES_FILE) -> Path:
    """Embeds a folder's int8 model in the runtime package, under the folder's name.

    The model stays where it is, and its name is added to the list of embedded models. The build copies listed models into
    the wheel; in a checkout the runtime reads them from ``artifacts/``.

    Args:
        folder: Folder below ``artifacts/`` with ``model.int8.onnx`` and ``SHA256SUMS``, as the export writes them.
        names_file: The list.

    Returns:
        The model's file.

    Raises:
        ModelError: The file is missing or damaged, differs from ``SHA256SUMS``, or fails its self-test.
    """
    source = folder / FILES["int8"]
    read_model(source)
    if not selftest(Classifier.load(source)).passed:
        raise ModelError(f"{source}: fails its self-test on this machine, so it is not published")
    names = {*names_file.read_text("utf-8").split(), folder.resolve().name}
    write_atomically(names_file, "".join(f"{name}\n" for name in sorted(names)))
    return source
