"""Evidence beside shipped models: copies of the run's files, metrics of all seeds, and a model card."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fmnist_export.artifacts import has_export
from fmnist_export.model_card import CARD_START, model_card
from fmnist_runtime.errors import MALFORMED, CheckpointError, ConfigError, reason_of
from fmnist_train.checkpoint import is_share, read_data_sha256, read_description, read_metrics
from fmnist_train.data.clothing_dataset import PUBLIC_PHOTOS
from fmnist_train.files import read_object, refuse_replacing
from fmnist_train.recipes import Recipe, recipe_from_dict
from fmnist_train.training.run import RUN_FILES
from fmnist_train.training.validation import stored_photos

__all__ = ["collect_evidence", "has_card", "refuse_foreign_evidence", "refuse_stale_evidence"]

_CARD = "README.md"
_ADVICE = "the command of the run, with --resume, writes it anew"


def refuse_foreign_evidence(run: Path, folder: Path) -> None:
    """Checks that ``collect_evidence`` replaces no files but those of an earlier export, and of the run itself.

    Raises:
        ConfigError: The folder has a README or evidence that no export wrote, or is another run.
    """
    known, card = has_export(folder), folder / _CARD
    if os.path.lexists(card) and not (known and has_card(folder)):
        raise ConfigError(f"{card} exists and is no model card of an export: remove it, or name another output folder")
    if run.resolve() == folder.resolve():
        return
    if (folder / "last.safetensors").exists():
        raise ConfigError(f"{folder} is another run, whose files would be replaced: name another output folder")
    if not known:
        refuse_replacing(folder, ["metrics.json", *(path.name for path in _copied_files(run))])


def refuse_stale_evidence(folder: Path, checkpoint_sha256: str) -> None:
    """Checks that no evidence of other weights stays beside the exported files.

    Raises:
        ConfigError: An earlier export into the folder wrote evidence of another checkpoint.
    """
    metrics = read_object(folder / "metrics.json") if has_export(folder) else {}
    if "exported" in metrics and metrics.get("checkpoint_sha256") != checkpoint_sha256:
        raise ConfigError(
            f"{folder} has the evidence of other weights: add --evidence, which replaces it, or name another output folder"
        )


def has_card(folder: Path) -> bool:
    """Returns whether a folder has a model card."""
    with suppress(OSError), (folder / _CARD).open("rb") as card:
        return card.read(len(CARD_START)) == CARD_START.encode()
    return False


def collect_evidence(run: Path, folder: Path, report: dict[str, Any]) -> tuple[dict[str, bytes], list[str]]:
    """Returns the evidence of an export: the run's checkpoint, metrics, history and plots, and a model card.

    ``metrics.json`` gets more keys: ``exported``, the accuracy of each file; ``data_sha256`` of the training and validation
    images, by which further seeds are known; ``seeds``, one row for each finished run of the
    same recipe beside this run, or for each run that an average is the mean of; ``teachers``, the SHA-256 of the teachers'
    files, those for photos last; and of a fine-tuned network ``start``, the SHA-256 of its first weights.
    A checkpoint without ``metrics.json`` has no card.

    Args:
        run: Folder of the run.
        folder: Folder of the exported files, whose evidence is replaced.
        report: Content of ``parity.json``.

    Returns:
        Contents of the files by name, and the names of earlier evidence of other weights, to be removed before in this
        order: ``metrics.json``, by which ``refuse_stale_evidence`` knows what an interruption has left, is the last one.

    Raises:
        CheckpointError: The run's ``metrics.json`` or the description in its checkpoint is damaged, or of other weights.
    """
    earlier = read_object(folder / "metrics.json")
    copied = _copied_files(run)
    contents = {} if run.resolve() == folder.resolve() else {path.name: path.read_bytes() for path in copied}
    if (run / "metrics.json").is_file():
        metrics, info = read_metrics(run), read_description(run)
        _extend_metrics(metrics, info, run, earlier, report)
        contents["metrics.json"] = f"{json.dumps(metrics, indent=2)}\n".encode()
        contents[_CARD] = _make_card(metrics, info, run, report).encode()
    if "exported" not in earlier or earlier.get("checkpoint_sha256") == report["checkpoint_sha256"]:
        return contents, []
    own = {path.name for path in copied} - contents.keys()  # the run is in this folder
    return contents, [*(name for name in (_CARD, *RUN_FILES) if name not in {*own, "metrics.json"}), "metrics.json"]


def _extend_metrics(
    metrics: dict[str, Any], info: Mapping[str, Any], run: Path, earlier: dict[str, Any], report: dict[str, Any]
) -> None:
    """Adds the further keys of ``collect_evidence`` to a run's metrics; ``earlier`` are those that they replace."""
    if metrics["checkpoint_sha256"] != report["checkpoint_sha256"]:  # a resumed run that was killed
        raise CheckpointError(f"{run / 'metrics.json'} has the figures of other weights than the checkpoint: {_ADVICE}")
    metrics["exported"] = {
        name: {"file": file["file"], **report["accuracy"][name]} for name, file in report["files"].items()
    }
    _add_inputs(metrics, info)
    if data := read_data_sha256(run):
        metrics["data_sha256"] = data
    metrics["seeds"] = metrics.get("averaged") or _all_seeds(run, metrics, earlier)


def _add_inputs(metrics: dict[str, Any], info: Mapping[str, Any]) -> None:
    """Adds the SHA-256 of the teachers, and of the first weights of a fine-tuned network, from a checkpoint's description."""
    metrics["teachers"] = info.get("teachers", [])
    if "start" in info:
        metrics["start"] = info["start"]


def _make_card(metrics: dict[str, Any], info: Mapping[str, Any], run: Path, report: dict[str, Any]) -> str:
    photos, public = stored_photos(info, run / "best.safetensors"), info.get("photos_sha256") in PUBLIC_PHOTOS
    try:
        return model_card(metrics, report, photos=photos, public_photos=public)
    except MALFORMED as error:
        raise CheckpointError(f"{run / 'metrics.json'} is damaged ({reason_of(error)}): {_ADVICE}") from error


def _copied_files(run: Path) -> list[Path]:
    return [path for pattern in ("best.*", "history.*", "*.png") for path in sorted(run.glob(pattern))]


def _all_seeds(run: Path, metrics: dict[str, Any], previous: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each seed of the recipe, from the runs beside this one and from the evidence that is replaced."""
    seeds = previous.get("seeds")
    same = (
        _differ_in_seeds(previous, metrics)
        and _agree(each.get("data_sha256") for each in (previous, metrics))
        and "averaged" not in previous
        and isinstance(seeds, list)
    )
    kept = {row["seed"]: row for row in seeds if _is_row(row)} if same and seeds else {}
    rows = kept | _seeds(run, metrics)
    return sorted(rows.values(), key=lambda row: row["seed"])


def _seeds(run: Path, metrics: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Returns rows of the finished runs of this recipe in the parent folder of ``run``, by seed; without damaged ones."""
    rows = {}
    for path in sorted(run.resolve().parent.glob("*/metrics.json")):
        try:
            other = read_metrics(path.parent)
            _add_inputs(other, read_description(path.parent))
            if other.get("interrupted") or "averaged" in other or not _differ_in_seeds(other, metrics):
                continue
            if not _agree(read_data_sha256(folder) for folder in (run, path.parent)):  # last: it reads both states
                continue
        except CheckpointError:
            continue
        parity = read_object(path.parent / "export" / "parity.json")
        current = parity.get("checkpoint_sha256", "") == other.get("checkpoint_sha256")
        rows[other["seed"]] = _seed_row(other, parity.get("accuracy") if current else other.get("exported"))
    rows[metrics["seed"]] = _seed_row(metrics, metrics["exported"])
    return rows


def _differ_in_seeds(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Returns whether two runs may differ in their seeds alone: recipe, data set, teachers, and whether they are fine-tuned.

    Args:
        one: Content of ``metrics.json``, with ``teachers`` and ``start`` as ``collect_evidence`` writes them.
        other: The same.
    """
    try:
        same_images = _agree(metrics.get("test_sha256") for metrics in (one, other))
        return same_images and _conditions(one) == _conditions(other)
    except MALFORMED:
        return False


def _agree(hashes: Iterable[str | None]) -> bool:
    """Returns whether all hashes that are known are equal; earlier versions did not store them."""
    known = [digits for digits in hashes if digits is not None]
    return all(digits == known[0] for digits in known)


def _conditions(metrics: dict[str, Any]) -> tuple[Recipe, list[str], bool, str, list[str]]:
    return (
        recipe_from_dict(metrics["recipe"]).without_inputs(),
        metrics.get("teachers", []),
        "start" in metrics,  # not which: each seed may start from first weights of its own
        metrics["dataset"],
        [row["label"] for row in metrics["test"]["per_class"]],
    )


def _seed_row(metrics: dict[str, Any], exported: Any) -> dict[str, Any]:
    row = {key: metrics[key] for key in ("seed", "epoch")}
    row |= {"validation": metrics["validation"]["accuracy"], "test": metrics["test"]["accuracy"]}
    try:
        accuracy = exported["int8"]["accuracy"]
    except MALFORMED:  # not exported to int8, or damaged
        return row
    return row | ({"int8": accuracy} if is_share(accuracy) else {})


def _is_row(row: Any) -> bool:
    """Returns whether a value is one that ``_seed_row`` returns."""
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), int) for key in ("seed", "epoch"))
        and all(
            is_share(row[key]) or (key == "validation" and row[key] is None) for key in row.keys() - {"seed", "epoch"}
        )
        and row.keys() >= {"validation", "test"}
    )
