"""What stands beside shipped models: the run's checkpoint and figures, those of its other seeds, and a card for people."""

import json
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import CheckpointError
from fmnist_train.files import read_object, write_atomically
from fmnist_train.models import MODELS

__all__ = ["collect_evidence", "model_card"]

_DATA_NOTES = """\
The labels of Fashion-MNIST are those of a shop, and some are wrong or arbitrary, most of them among shirts, T-shirts,
pullovers and coats (Müller, Markert 2019, arXiv:1912.05283); some test images are near-duplicates of training images, which
flatters every model alike (Geier 2019, arXiv:1906.08255). Exact duplicates left the data set in September 2017
(zalandoresearch/fashion-mnist, issue 44); figures from before that are higher than any from after it."""


def collect_evidence(run: Path, folder: Path, report: dict[str, Any]) -> None:
    """Copy a run's checkpoint, metrics, history and pictures beside its exported files, and write their card.

    ``metrics.json``, in which the run wrote of PyTorch, gets three keys more: ``exported``, the accuracy of each file;
    ``seeds``, one row for each finished run of the same recipe in the folder beside this run; ``teachers``, their SHA-256.

    Raises:
        CheckpointError: the run's ``metrics.json`` is damaged.
    """
    known = read_object(folder / "metrics.json")
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
        name: {"file": about["file"], **report["accuracy"][name]} for name, about in report["files"].items()
    }
    seeds = {row["seed"]: row for row in known.get("seeds", [])} if known.get("recipe") == metrics["recipe"] else {}
    metrics["seeds"] = sorted((seeds | _seeds(run, metrics)).values(), key=lambda row: row["seed"])
    metrics["teachers"] = read_object(folder / "best.json").get("teachers", [])
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    write_atomically(folder / "README.md", model_card(metrics, report))


def _seeds(run: Path, metrics: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The finished runs of this recipe beside ``run``, itself included, by seed; with int8's accuracy where exported."""
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


def model_card(metrics: dict[str, Any], report: dict[str, Any]) -> str:
    """A card in Markdown (Mitchell et al. 2019, arXiv:1810.03993), all of it from a run's metrics and its export's report."""
    recipe, model = metrics["recipe"], metrics["model"]
    about = " ".join((MODELS[model["name"]].__doc__ or "").strip().split("\n\n")[0].split())
    return "\n\n".join(
        [
            f"# Model card: {recipe['name']}",
            f"{about} 28×28 grey pictures in, {len(metrics['test']['per_class'])} classes out.",
            _files(metrics, report),
            "## Protocol\n\n" + _protocol(metrics),
            _seed_table(metrics["seeds"]),
            "## What it gets wrong\n\n" + _mistakes(metrics["test"]),
            "## The data\n\n" + _DATA_NOTES,
            f"Make it again: `fmnist-train --recipe {recipe['name']} --seed {metrics['seed']}`, then "
            "`fmnist-export RUN --quantize --evidence`. Licence: MIT, both the weights and Fashion-MNIST (Zalando SE).\n",
        ]
    )


def _files(metrics: dict[str, Any], report: dict[str, Any]) -> str:
    size, test = report["model"], metrics["test"]
    lines = [
        f"{size['parameters']:,} parameters, {size['macs'] / 1e6:.1f}M multiplications an image.",
        "",
        f"| on {test['images']:,} test images | accuracy | 95% interval | same answers as PyTorch | kB |",
        "|---|---|---|---|---|",
    ]
    for name, share in report["accuracy"].items():
        low, high = share["interval"]
        agreement = report["comparisons"][name]["agreement"] if name in report["comparisons"] else None
        file = report["files"].get(name)
        lines.append(
            f"| {file['file'] if file else 'PyTorch'} | {share['accuracy']:.2%} | {low:.2%} to {high:.2%} | "
            f"{'' if agreement is None else f'{agreement:.2%}'} | {'' if file is None else round(file['bytes'] / 1000)} |"
        )
    return "\n".join(lines)


def _protocol(metrics: dict[str, Any]) -> str:
    recipe, validation = metrics["recipe"], metrics["validation"]["accuracy"]
    held_out = f"{recipe['validation']:.0%}" if recipe["validation"] < 1 else f"{recipe['validation']:,.0f}"
    chosen = (
        f"The validation images ({held_out} of the training images, the same for every seed) chose epoch "
        f"{metrics['epoch']} of {metrics['epochs_trained']} (accuracy {validation:.2%})."
        if recipe["validation"] and validation is not None
        else f"No image was held out; the last of {metrics['epochs_trained']} epochs counts."
    )
    teachers = ", ".join(sha256[:12] for sha256 in metrics["teachers"])
    taught = f" It learnt from other checkpoints ({teachers}) as well as from the labels." if teachers else ""
    return f"{chosen}{taught} The test set chose neither recipe nor epoch; the gate of the export asks it, too."


def _seed_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| seed | validation | test | test, int8 |", "|---|---|---|---|"]
    for row in rows:
        figures = (f"{row[key]:.2%}" if row.get(key) is not None else "" for key in ("validation", "test", "int8"))
        lines.append(f"| {row['seed']} | {' | '.join(figures)} |")
    if len(rows) > 1:
        tests = [row["test"] for row in rows]
        mean = sum(tests) / len(tests)
        spread = (sum((test - mean) ** 2 for test in tests) / (len(tests) - 1)) ** 0.5
        lines.append(
            f"\nTest accuracy over {len(rows)} seeds: {mean:.2%} ± {100 * spread:.2f} points (standard deviation)."
        )
    return "\n".join(lines)


def _mistakes(test: dict[str, Any]) -> str:
    confused = ", ".join(
        f"{row['label']} taken for {row['predicted']} ({row['count']})" for row in test["most_confused"][:5]
    )
    worst = min(test["per_class"], key=lambda row: row["recall"])
    return f"Most often: {confused}. Worst class: {worst['label']}, of which {worst['recall']:.1%} are found."
