"""Evidence beside shipped models: copies of the run's files, metrics of all seeds, and a model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from fmnist_runtime.console import counted
from fmnist_runtime.errors import CheckpointError
from fmnist_runtime.files import write_atomically
from fmnist_train.files import read_object
from fmnist_train.recipes import current_name
from fmnist_train.training.weight_average import photo_accuracy, unpack_logits

__all__ = ["collect_evidence", "model_card"]

_INTENDED = """\
Classifies a photo of one garment, shoe or bag on a small device without PyTorch and without a network connection.
The runtime segments the photo, reduces it to 28×28 gray pixels, and returns a class, its probability, or a rejection."""
_OUT_OF_SCOPE = """\
- People: the model does not detect, identify or rate persons.
- Several garments in one photo, patterns, brands, sizes, and classes that are not in the table below.
- Decisions with consequences for people or safety."""
_FASHION_MNIST = """\
Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; MIT, Zalando SE): 60,000 training and 10,000 test images.
Exact duplicates left the data set in September 2017 (zalandoresearch/fashion-mnist, issue 44). Earlier figures are higher."""
_LABEL_LIMITS = """\
- Some labels are wrong or arbitrary, most of them among shirts, T-shirts, pullovers and coats (Müller, Markert 2019,
  arXiv:1912.05283).
- Some test images are near-duplicates of training images, which raises the accuracy of every model (Geier 2019,
  arXiv:1906.08255)."""
_PHOTOS = """\
Photos of people's own garments for fine-tuning: "Clothing dataset" (A. Grigorev and contributors,
github.com/alexeygrigorev/clothing-dataset; CC0). No photo is part of this folder."""
_LICENSE = "MIT for the weights. Fashion-MNIST is MIT (Zalando SE)."


def collect_evidence(run: Path, folder: Path, report: dict[str, Any]) -> None:
    """Copies a run's checkpoint, metrics, history and plots to its exported files, and writes a model card.

    ``metrics.json`` gets three more keys: ``exported``, the accuracy of each file; ``seeds``, one row for each finished run of
    the same recipe beside this run; and ``teachers``, the SHA-256 of the teachers' files.

    Raises:
        CheckpointError: The run's ``metrics.json`` is damaged.
    """
    previous = read_object(folder / "metrics.json")
    for pattern in ("best.*", "history.*", "*.png"):
        for path in sorted(run.glob(pattern)):
            if path.resolve() != (folder / path.name).resolve():
                write_atomically(folder / path.name, path.read_bytes())
    if not (run / "metrics.json").is_file():
        return
    metrics = read_object(run / "metrics.json")
    if not metrics:
        raise CheckpointError(f"{run / 'metrics.json'} is damaged: 'fmnist-train --resume' writes it anew")
    metrics["exported"] = {
        name: {"file": file["file"], **report["accuracy"][name]} for name, file in report["files"].items()
    }
    seeds = (
        {row["seed"]: row for row in previous.get("seeds", [])} if previous.get("recipe") == metrics["recipe"] else {}
    )
    metrics["seeds"] = sorted((seeds | _seeds(run, metrics)).values(), key=lambda row: row["seed"])
    info = read_object(folder / "best.json")
    metrics["teachers"] = info.get("teachers", [])
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    write_atomically(folder / "README.md", model_card(metrics, report, photos=_photo_answers(info)))


def _seeds(run: Path, metrics: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Returns rows of the finished runs of this recipe in the parent folder of ``run``, by seed."""
    rows = {}
    for path in sorted(run.resolve().parent.glob("*/metrics.json")):
        other = read_object(path)
        if other.get("recipe") != metrics["recipe"] or other.get("interrupted"):
            continue
        parity = read_object(path.parent / "export" / "parity.json")
        current = parity.get("checkpoint_sha256", "") == other.get("checkpoint_sha256")
        rows[other["seed"]] = _seed_row(other, parity["accuracy"] if current else other.get("exported", {}))
    rows[metrics["seed"]] = _seed_row(metrics, metrics["exported"])
    return rows


def _seed_row(metrics: dict[str, Any], exported: dict[str, Any]) -> dict[str, Any]:
    row = {key: metrics[key] for key in ("seed", "epoch")}
    row |= {"validation": metrics["validation"]["accuracy"], "test": metrics["test"]["accuracy"]}
    return row | ({"int8": exported["int8"]["accuracy"]} if "int8" in exported else {})


def _photo_answers(info: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns logits and accepted answers of the validation photos in a checkpoint's description; None without photos."""
    return unpack_logits(info["photos"]) if "photos" in info else None


def model_card(
    metrics: dict[str, Any], report: dict[str, Any], *, photos: tuple[np.ndarray, np.ndarray] | None = None
) -> str:
    """Returns a model card in Markdown (Mitchell et al. 2019, arXiv:1810.03993).

    Args:
        metrics: Content of the run's ``metrics.json``, with ``seeds`` and ``teachers``.
        report: Content of the export's ``parity.json``.
        photos: Logits ``[N, classes]`` and accepted answers, bool ``[N, classes]``, of the validation photos of a network
            that was fine-tuned with photos.
    """
    tuned = photos is not None
    phases = _phases(metrics["recipe"])
    sections = {
        "Intended use": _INTENDED,
        "Out of scope": _OUT_OF_SCOPE,
        "Data": _data(metrics) + ("\n\n" + _PHOTOS if tuned else ""),
        "Training": _training(metrics, photos=tuned),
        "Evaluation": _evaluation(metrics, report),
        "Evaluation by class": _classes(metrics["test"]),
        **({"Evaluation on photos": _photos(*photos, _labels(metrics))} if photos is not None else {}),
        "Limits": _limits(metrics, photos=tuned),
        "How to make it again": _reproduction(phases, metrics["seed"], photos=tuned),
        "How to cite": "Cite this project with its CITATION.cff, and Fashion-MNIST.",
        "License": _LICENSE + (" The photos are CC0." if tuned else ""),
    }
    size = report["model"]
    summary = (
        f"The network {metrics['model']['name']}, trained with the recipe {' and then '.join(phases)}: "
        f"{size['parameters']:,} parameters, {size['macs'] / 1e6:.1f}M multiplications an image. "
        f"It takes one gray image of 28×28 pixels and returns {len(metrics['test']['per_class'])} logits."
    )
    parts = [f"# Model card: {phases[0]}", summary, *(f"## {name}\n\n{text}" for name, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _data(metrics: dict[str, Any]) -> str:
    if metrics.get("dataset", "fashion-mnist") == "fashion-mnist":
        return _FASHION_MNIST
    if metrics["dataset"] == "sample":
        return "The embedded sample of Fashion-MNIST (MIT, Zalando SE): 2,000 training and 1,000 test images."
    return f"The image folder {Path(metrics['dataset']).name}. Its owner decides on its license."


def _training(metrics: dict[str, Any], *, photos: bool) -> str:
    recipe, validation = metrics["recipe"], metrics["validation"]["accuracy"]
    if recipe["validation"] and validation is not None:
        share = recipe["validation"]
        held_out = f"{share:.0%} of the training images" if share < 1 else f"{share:,.0f} training images"
        text = (
            f"{held_out}, the same for every seed, were held out for validation. Of {counted(metrics['epochs_trained'], 'epoch')}, "
            f"epoch {metrics['epoch']} was taken (validation accuracy {validation:.2%})."
        )
    else:
        text = f"No image was held out. The last of {counted(metrics['epochs_trained'], 'epoch')} was taken."
    if teachers := ", ".join(sha256[:12] for sha256 in metrics["teachers"]):
        text += f" The loss includes the answers of other checkpoints (SHA-256 {teachers})."
    if photos:
        text += " A finished network was fine-tuned with photos. No sender is in both training and validation photos."
    return text + " The test set chose neither recipe nor epoch. Training reads it once, at its end."


def _evaluation(metrics: dict[str, Any], report: dict[str, Any]) -> str:
    lines = [
        f"| on {metrics['test']['images']:,} test images | accuracy | 95% interval | same answers as PyTorch | kB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, share in report["accuracy"].items():
        low, high = share["interval"]
        agreement = f"{report['comparisons'][name]['agreement']:.2%}" if name in report["comparisons"] else "–"
        file = report["files"].get(name)
        title, size = (file["file"], f"{file['bytes'] / 1000:,.0f}") if file else ("PyTorch", "–")
        lines.append(f"| {title} | {share['accuracy']:.2%} | {low:.2%} to {high:.2%} | {agreement} | {size} |")
    return "\n".join([*lines, "", _seed_table(metrics["seeds"])])


def _seed_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| seed | validation | test | test, int8 |", "|---:|---:|---:|---:|"]
    for row in rows:
        figures = (f"{row[key]:.2%}" if row.get(key) is not None else "–" for key in ("validation", "test", "int8"))
        lines.append(f"| {row['seed']} | {' | '.join(figures)} |")
    if len(rows) > 1:
        tests = [row["test"] for row in rows]
        lines.append(
            f"\nTest accuracy over {len(rows)} seeds: {mean(tests):.2%} ± {100 * stdev(tests):.2f} points "
            "(standard deviation)."
        )
    return "\n".join(lines)


def _classes(test: dict[str, Any]) -> str:
    lines = ["| PyTorch, by class | precision | recall | images |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['label']} | {row['precision']:.1%} | {row['recall']:.1%} | {row['support']:,} |"
        for row in test["per_class"]
    ]
    return "\n".join(lines)


def _labels(metrics: dict[str, Any]) -> list[str]:
    return [row["label"] for row in metrics["test"]["per_class"]]


def _photos(logits: np.ndarray, answers: np.ndarray, labels: Sequence[str]) -> str:
    """Returns a table of the validation photos: the share of correct answers, by the set of answers that are accepted."""
    shown = answers.any(axis=1)
    share, _ = photo_accuracy(logits, answers)
    lines = [
        f"Of {shown.sum()} validation photos, by senders who sent no training photo, {share:.1%} are classified",
        "correctly without rejection. Epoch, temperature and reject threshold were chosen on these photos;",
        "docs/accuracy.md has the figures of other photos.",
        "",
        "| PyTorch, photos, by accepted answers | correct | photos |",
        "|---|---:|---:|",
    ]
    groups: list[tuple[int, ...]] = sorted({tuple(np.flatnonzero(row).tolist()) for row in answers[shown]})
    for group in groups:
        member = (answers == np.isin(np.arange(len(labels)), group)).all(axis=1)
        names = " or ".join(labels[index] for index in group)
        share, _ = photo_accuracy(logits[member], answers[member])
        lines.append(f"| {names} | {share:.1%} | {member.sum()} |")
    return "\n".join(lines)


def _limits(metrics: dict[str, Any], *, photos: bool) -> str:
    confused = ", ".join(
        f"{row['label']} classified as {row['predicted']} ({row['count']})"
        for row in metrics["test"]["most_confused"][:5]
    )
    lines = [f"- Most frequent errors on the test images: {confused}."]
    if metrics.get("dataset", "fashion-mnist") in ("fashion-mnist", "sample"):
        lines.append(_LABEL_LIMITS)
    if not photos:
        lines.append("- No photo was used in training. Accuracy on photos is lower than on the test images.")
    else:
        lines.append("- Accuracy on photos is lower than on the test images. Bags are absent from the training photos.")
    return "\n".join(lines)


def _phases(recipe: dict[str, Any]) -> list[str]:
    """Returns the recipes of the network in the order of training: the recipe with the first weights, then the fine-tuning."""
    return [current_name(name) for name in (recipe.get("start"), recipe["name"]) if name]


def _reproduction(phases: list[str], seed: int, *, photos: bool) -> str:
    commands = [f"fmnist-train --recipe {recipe} --seed {seed}" for recipe in phases]
    commands[-1] += " --photos FOLDER" if photos else ""
    commands.append(f"fmnist-export runs/{phases[-1]}-seed{seed} --quantize --evidence")
    return "\n".join(["```sh", *commands, "```"])
