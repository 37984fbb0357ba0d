"""Model cards: what a model is for, how it was trained, and how accurate it is."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from fmnist_runtime.console import counted, printable
from fmnist_runtime.errors import ConfigError
from fmnist_train.data.sources import PUBLISHED
from fmnist_train.recipes import RECIPES, current_name, recipe_from_dict
from fmnist_train.training.validation import photo_accuracy

__all__ = ["CARD_START", "model_card"]

CARD_START = "# Model card: "
"""First characters of every model card."""

_INTENDED = """\
Classifies a photo of one {} on a small device without PyTorch and without a network connection.
The runtime segments the photo, reduces it to 28×28 gray pixels, and returns a class, its probability, or a rejection."""
_OUT_OF_SCOPE = """\
- People: the model does not detect, identify or rate persons.
- Several {} in one photo, patterns, brands, sizes, and classes that are not in the table below.
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
_OWN_PHOTOS = (
    "Photos of a folder for fine-tuning. Their owner decides on their license. No photo is part of this folder."
)
_LICENSE = "MIT for the weights. Fashion-MNIST is MIT (Zalando SE)."
_OWN_LICENSE = "The owner of the images decides on the license of the weights."


def model_card(
    metrics: dict[str, Any],
    report: dict[str, Any],
    *,
    photos: tuple[np.ndarray, np.ndarray] | None = None,
    public_photos: bool = False,
) -> str:
    """Returns a model card in Markdown (Mitchell et al. 2019, arXiv:1810.03993).

    Args:
        metrics: Content of the run's ``metrics.json``, with the keys that ``evidence.collect_evidence`` adds.
        report: Content of the export's ``parity.json``.
        photos: Logits ``[N, classes]`` and accepted answers, bool ``[N, classes]``, of the validation photos of a network
            that was fine-tuned with photos.
        public_photos: Whether all photos are those of the "Clothing dataset".
    """
    tuned = photos is not None
    photo_license = "The photos are CC0." if public_photos else "The owner of the photos decides on their license."
    published = _is_published(metrics)
    phases = _phases(metrics["recipe"])
    sections = {
        "Intended use": _INTENDED.format("garment, shoe or bag" if published else "object"),
        "Out of scope": _OUT_OF_SCOPE.format("garments" if published else "objects"),
        "Data": _data(metrics) + (f"\n\n{_PHOTOS if public_photos else _OWN_PHOTOS}" if tuned else ""),
        "Training": _training(metrics, photos=tuned),
        "Evaluation": _evaluation(metrics, report),
        "Evaluation by class": _classes(metrics["test"]),
        **({"Evaluation on photos": _photos(*photos, metrics)} if photos is not None else {}),
        "Limits": _limits(metrics, photos=tuned, public_photos=public_photos),
        "How to make it again": _reproduction(
            phases,
            [row["seed"] for row in metrics.get("averaged", [metrics])],
            recipe="" if _is_named(metrics["recipe"]) else "best.json",
            dataset=metrics.get("dataset", "fashion-mnist"),
            inputs=_unnamed_inputs(metrics),
            photos=tuned,
        ),
        "How to cite": f"Cite this project with its CITATION.cff{', and Fashion-MNIST' if published else ''}.",
        "License": (_LICENSE if published else _OWN_LICENSE) + (f" {photo_license}" if tuned else ""),
    }
    size = report["model"]
    summary = (
        f"The network {_escape(metrics['model']['name'])}, trained with the recipe {' and then '.join(phases)}: "
        f"{size['parameters']:,} parameters, {size['macs'] / 1e6:.1f}M multiplications an image. "
        f"It takes one gray image of 28×28 pixels and returns {len(metrics['test']['per_class'])} logits."
    )
    parts = [f"{CARD_START}{phases[0]}", summary, *(f"## {name}\n\n{text}" for name, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _is_published(metrics: dict[str, Any]) -> bool:
    return metrics.get("dataset", "fashion-mnist") in PUBLISHED


def _data(metrics: dict[str, Any]) -> str:
    if metrics.get("dataset", "fashion-mnist") == "fashion-mnist":
        return _FASHION_MNIST
    if metrics["dataset"] == "sample":
        return "The embedded sample of Fashion-MNIST (MIT, Zalando SE): 2,000 training and 1,000 test images."
    return f"The image folder {_escape(Path(metrics['dataset']).name)}. Its owner decides on its license."


def _training(metrics: dict[str, Any], *, photos: bool) -> str:
    recipe, validation = metrics["recipe"], metrics["validation"]["accuracy"]
    if recipe["validation"] and validation is not None:
        share = recipe["validation"]
        held_out = f"{share:.0%} of the training images" if share < 1 else f"{share:,.0f} training images"
        text = (
            f"{held_out}, the same for every seed, were held out for validation. {_choice(metrics)} "
            f"(validation accuracy {validation:.2%})."
        )
    else:
        text = f"No image was held out. The last of {_trained(metrics)} was taken."
    parts = [text, _distillation(recipe, metrics["teachers"])]
    if photos:
        parts.append(_fine_tuning(metrics))
    parts.append("The test set chose neither recipe nor epoch. Training reads it once, at its end.")
    return " ".join(part for part in parts if part)


def _choice(metrics: dict[str, Any]) -> str:
    """Returns which weights of which epoch were taken, without a full stop."""
    if rows := metrics.get("averaged"):
        seeds, epochs = (" and ".join(str(row[key]) for row in rows) for key in ("seed", "epoch"))
        return (
            f"The weights are the mean of {len(rows)} runs that differ in their seeds, {seeds} (epochs {epochs} of "
            f"{metrics['recipe']['epochs']}; Wortsman et al. 2022, arXiv:2203.05482)"
        )
    return f"Of {_trained(metrics)}, epoch {metrics['epoch']} was taken"


def _trained(metrics: dict[str, Any]) -> str:
    """Returns the number of epochs; of an interrupted run, with that of its recipe."""
    if metrics.get("interrupted"):
        planned = counted(metrics["recipe"]["epochs"], "epoch")
        return f"{metrics['epochs_trained']} of {planned}, after which the run was interrupted"
    return counted(metrics["epochs_trained"], "epoch")


def _distillation(recipe: dict[str, Any], teachers: Sequence[str]) -> str:
    """Returns which networks' outputs are targets, with their weight in the loss; "" without teachers."""
    if not teachers:
        return ""
    names, photo_names = _teacher_names(recipe)
    named = [f"{_recipe_name(name)} " for name in (*names, *photo_names)]
    if len(named) != len(teachers):  # the run was given other teachers than its recipe names
        return f"The loss includes the outputs of other networks (SHA-256 {', '.join(sha[:12] for sha in teachers)})."
    networks = [f"{name}({sha[:12]})" for name, sha in zip(named, teachers, strict=True)]
    share, copies = recipe["distillation"], recipe.get("stored_views", 0)
    views = f"the same changed images, {copies} copies of the training set" if copies else "the same changed images"
    text = (
        f"{'The only targets' if share == 1 else f'{share:.0%} of the targets'} are the mean outputs of "
        f"{', '.join(networks[: len(names)])} for {views}, "
        f"at temperature {recipe['temperature']:g}; in brackets is the start of each file's SHA-256."
    )
    if photo_names:
        share, outputs = recipe["photo_distillation"], ", ".join(networks[len(names) :])
        text += f" {share:.0%} of the targets of photos are the outputs of {outputs}."
    return text


def _teacher_names(recipe: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Returns the names of a recipe's teachers, and of those for photos."""
    names, photo_names = (
        [name for name in recipe.get(key, "").split(",") if name] for key in ("teacher", "photo_teacher")
    )
    return names, photo_names if recipe.get("photo_distillation") else []


def _fine_tuning(metrics: dict[str, Any]) -> str:
    """Returns how a finished network was fine-tuned with photos, and how the epoch was chosen."""
    chosen = {
        "photos": "The epoch was chosen by the mean accuracy on validation images and photos.",
        "last": "It is the last epoch, whatever the validation figures.",
    }.get(metrics["recipe"]["monitor"], "The epoch was chosen on validation images alone.")
    return (
        f"Fine-tuning with photos began with the weights of {_recipe_name(metrics['recipe']['start']) or 'another network'} "
        f"({metrics['start'][:12]}). No sender is in both training and validation photos. {chosen}"
    )


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
    return "\n".join([*lines, "", _seed_table(metrics)])


def _seed_table(metrics: dict[str, Any]) -> str:
    rows = metrics["seeds"]
    lines = ["| seed | validation | test | test, int8 |", "|---:|---:|---:|---:|"]
    average = {"seed": "their average", "validation": metrics["validation"]["accuracy"]}
    average |= {"test": metrics["test"]["accuracy"], "int8": metrics["exported"].get("int8", {}).get("accuracy")}
    for row in (*rows, average) if "averaged" in metrics else rows:
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
        f"| {_escape(row['label'])} | {row['precision']:.1%} | {row['recall']:.1%} | {row['support']:,} |"
        for row in test["per_class"]
    ]
    return "\n".join(lines)


def _escape(name: str) -> str:
    """Returns the name of a class or folder as Markdown, which is also right in a table: any character may be in it."""
    return re.sub(r"[\\`*|<\[]", r"\\\g<0>", printable(name))


def _recipe_name(name: str) -> str:
    return _escape(current_name(name))


def _labels(metrics: dict[str, Any]) -> list[str]:
    return [_escape(row["label"]) for row in metrics["test"]["per_class"]]


def _photos(logits: np.ndarray, answers: np.ndarray, metrics: dict[str, Any]) -> str:
    """Returns a table of the validation photos: the share of correct answers, by the set of answers that are accepted."""
    labels = _labels(metrics)
    chosen = "Epoch, temperature and" if metrics["recipe"]["monitor"] == "photos" else "Temperature and"
    shown = answers.any(axis=1)
    share, _ = photo_accuracy(logits, answers)
    lines = [
        f"Of {shown.sum()} validation photos, by senders who sent no training photo, {share:.1%} are classified",
        f"correctly without rejection. {chosen} reject threshold were chosen on these photos;",
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


def _limits(metrics: dict[str, Any], *, photos: bool, public_photos: bool) -> str:
    confused = ", ".join(
        f"{_escape(row['label'])} classified as {_escape(row['predicted'])} ({row['count']})"
        for row in metrics["test"]["most_confused"][:5]
    )
    lines = [f"- Most frequent errors on the test images: {confused}."]
    if _is_published(metrics):
        lines.append(_LABEL_LIMITS)
    if not _is_published(metrics):
        lines.append("- Accuracy on photos that were made otherwise than those in the folder may be lower.")
    elif not photos:
        lines.append("- No photo was used in training. Accuracy on photos is lower than on the test images.")
    else:
        absent = " Bags are absent from the training photos." if public_photos else ""
        lines.append(f"- Accuracy on photos is lower than on the test images.{absent}")
    return "\n".join(lines)


def _phases(recipe: dict[str, Any]) -> list[str]:
    """Returns the recipes of the network in the order of training: the recipe with the first weights, then the fine-tuning."""
    return [_recipe_name(name) for name in (recipe.get("start"), recipe["name"]) if name]


def _is_named(recipe: dict[str, Any]) -> bool:
    """Returns whether a recipe has the values of the named one; its first weights and teachers may be others."""
    try:
        stored = recipe_from_dict(recipe)
    except ConfigError:  # of another version
        return False
    named = RECIPES.get(stored.name)
    return named is not None and stored.without_inputs() == named.without_inputs()


def _unnamed_inputs(metrics: dict[str, Any]) -> str:
    """Returns the options for first weights and teachers that a run was given and that its recipe does not name."""
    recipe, given = metrics["recipe"], ""
    if "start" in metrics and not recipe.get("start"):
        given += " --start FIRST_WEIGHTS"
    if metrics["teachers"] and sum(map(len, _teacher_names(recipe))) != len(metrics["teachers"]):
        given += " --teacher TEACHERS"
    return given


def _reproduction(
    phases: list[str], seeds: Sequence[int], *, recipe: str, dataset: str, inputs: str, photos: bool
) -> str:
    """Returns the commands that train and export the network again; an average has several seeds of the last phase.

    A last phase that finds its first weights itself takes those of seed 0, whatever its own seed is.

    A folder of own images is DATA in them, and ``recipe`` the file of the last phase's recipe; empty: it has its named values.
    ``inputs`` are further options of the last phase.
    """
    name = dataset if dataset in PUBLISHED else "DATA"
    data, suffix = ("", "") if name == "fashion-mnist" else (f" --data {name}", f"-{name}")
    given = data + (" --photos FOLDER" if photos else "")
    commands = [f"fmnist-train --recipe {recipe} --seed 0{data}" for recipe in phases[:-1]]
    runs = [f"runs/{phases[-1]}{suffix}-seed{seed}" for seed in seeds]
    commands += [f"fmnist-train --recipe {recipe or phases[-1]} --seed {seed}{inputs}{given}" for seed in seeds]
    result = runs[0]
    if len(runs) > 1:
        result = f"runs/{phases[-1]}{suffix}-average"
        commands.append(f"fmnist-train average {' '.join(runs)}{given} --output {result}")
    commands.append(f"fmnist-export {result} --quantize --evidence{data}")
    return "\n".join(["```sh", *commands, "```"])
