"""Plots of a run as PNG files: training curves, confusion matrix, reliability, and the galleries.

They are drawn by matplotlib's object interface, which needs neither a display nor global state.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fmnist_train.evaluation.figures import BLUE, GRAY, GREEN, ORANGE, RED, save_figure, shorten, style_panel
from fmnist_train.evaluation.gallery import Predictions, write_sample_predictions, write_worst_mistakes
from fmnist_train.evaluation.metrics import expected_calibration_error, reliability_bins

__all__ = [
    "Predictions",
    "write_confusion_matrix",
    "write_reliability_diagram",
    "write_sample_predictions",
    "write_training_curves",
    "write_worst_mistakes",
]

_PANELS = ("Loss", "Accuracy", "Learning rate", "Training − validation gap")


def write_training_curves(history: Sequence[Mapping[str, Any]], chosen: int, path: Path) -> None:
    """Draws loss, accuracy, learning rate and the gap between training and validation over the epochs.

    Args:
        history: One mapping per epoch, with ``epoch``, ``train_loss``, ``train_accuracy``, ``validation_loss``,
            ``validation_accuracy`` (these two None without a validation split), ``learning_rate``, and ``photo_accuracy``
            (None or absent without photos).
        chosen: Number of the epoch whose weights were taken, which the accuracy's panel marks.
        path: The PNG file to write.
    """
    column = {key: np.array([row[key] for row in history], float) for key in history[0] if key != "seconds"}
    epochs = column["epoch"]
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, title in zip(panels.flat, _PANELS, strict=True):
        style_panel(axes, title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    for axes, quantity in ((panels[0, 0], "loss"), (panels[0, 1], "accuracy")):
        _curve(axes, epochs, column[f"train_{quantity}"], color=BLUE, label="training")
        _curve(axes, epochs, column[f"validation_{quantity}"], color=RED, label="validation", marker="s")
    photos = column.get("photo_accuracy", np.full(len(epochs), np.nan))
    _curve(panels[0, 1], epochs, photos, color=ORANGE, label="validation photos", marker="^")
    panels[0, 1].yaxis.set_major_formatter(PercentFormatter(1.0))
    _mark_chosen(panels[0, 1], chosen, {"validation": column["validation_accuracy"], "photos": photos}, epochs)
    panels[0, 0].legend(frameon=False)
    panels[0, 1].legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3
    )  # below: no corner is free
    _curve(panels[1, 0], epochs, column["learning_rate"], color=GREEN, label="rate")
    if (column["learning_rate"] > 0).any():  # the only rate of a single epoch is 0 with a cosine schedule
        panels[1, 0].set_yscale("log")
    _draw_gap(panels[1, 1], epochs, 100 * (column["train_accuracy"] - column["validation_accuracy"]))
    save_figure(figure, path)


def _curve(axes: Axes, x: np.ndarray, y: np.ndarray, *, color: str, label: str, marker: str = "o") -> None:
    if np.isfinite(y).any():
        axes.plot(x, y, color=color, label=label, marker=marker, markersize=3 if len(x) > 10 else 5, linewidth=1.6)


def _mark_chosen(axes: Axes, chosen: int, accuracies: Mapping[str, np.ndarray], epochs: np.ndarray) -> None:
    """Marks an epoch, and writes its number and its accuracies, which may be NaN, above the panel."""
    axes.axvline(chosen, color=GRAY, linewidth=0.9, linestyle=":")
    at = epochs == chosen
    figures = [f"{name} {value:.2%}" for name, curve in accuracies.items() for value in curve[at] if np.isfinite(value)]
    axes.set_title(", ".join([f"chosen: epoch {chosen}", *figures]), loc="right", fontsize=9, color=GRAY)


def _draw_gap(axes: Axes, epochs: np.ndarray, gap: np.ndarray) -> None:
    axes.axhline(0, color=GRAY, linewidth=0.9)
    axes.set_ylabel("accuracy, percentage points")
    if not np.isfinite(gap).any():
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no validation split", transform=axes.transAxes, ha="center", va="center", color=GRAY)
        return
    axes.fill_between(epochs, gap, 0, where=gap > 0, color=RED, alpha=0.2, linewidth=0, interpolate=True)
    axes.fill_between(epochs, gap, 0, where=gap < 0, color=BLUE, alpha=0.2, linewidth=0, interpolate=True)
    _curve(axes, epochs, gap, color=GRAY, label="gap")
    axes.set_title("above 0: better in training", loc="right", fontsize=9, color=GRAY)


def write_confusion_matrix(matrix: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix with counts and, below them, shares of the true class.

    Args:
        matrix: int ``[classes, classes]``; rows are true classes, columns predicted ones.
        class_names: Name of each class id.
        path: The PNG file to write.
    """
    matrix = np.asarray(matrix)
    size = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.5, 1.6 + 0.75 * size), 16)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    # A square root scale makes mistakes of a few percent visible.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    names = [shorten(name, 16) for name in class_names]
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"Confusion matrix: {np.trace(matrix):,} of {matrix.sum():,} correct ({_accuracy(matrix):.2%})")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1.0), ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    if size <= 20:
        _write_cells(axes, matrix, share)
    save_figure(figure, path)


def _accuracy(matrix: np.ndarray) -> float:
    return float(np.trace(matrix) / max(matrix.sum(), 1))


def _write_cells(axes: Axes, matrix: np.ndarray, share: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.3 else "#1a1a1a"
            place: dict[str, Any] = {"ha": "center", "color": color}
            axes.text(column, row - 0.02, f"{count:,}", va="bottom", fontsize=9, **place)
            axes.text(column, row + 0.06, f"{share[row, column]:.1%}", va="top", fontsize=7, **place)


def write_reliability_diagram(probabilities: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Draws accuracy over confidence in 15 bins, and below it the number of predictions in each bin.

    Args:
        probabilities: float ``[N, classes]``.
        labels: int ``[N]``, true class ids.
        path: The PNG file to write.
    """
    counts, confidence, accuracy = reliability_bins(probabilities, labels)
    edges = np.linspace(0, 1, len(counts) + 1)
    filled = counts > 0
    centers, width = ((edges[:-1] + edges[1:]) / 2)[filled], 0.92 * edges[1]
    confidence, accuracy = confidence[filled], accuracy[filled]
    figure = Figure(figsize=(6.2, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style_panel(upper, "Reliability")
    note = f"expected calibration error {expected_calibration_error(probabilities, labels):.2%}"
    upper.set_title(note, loc="right", fontsize=9, color=GRAY)
    upper.bar(centers, accuracy, width, color=BLUE, label="accuracy")
    hatched = {"facecolor": "none", "edgecolor": RED, "hatch": "////", "linewidth": 1}
    upper.bar(centers, confidence - accuracy, width, accuracy, label="distance to the confidence", **hatched)
    upper.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1.2, label="perfectly calibrated")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    style_panel(lower, "")
    lower.bar(centers, counts[filled], width, color=GRAY)
    lower.set(yscale="log", xlabel="confidence (largest probability)", ylabel="predictions")
    for axis in (upper.yaxis, upper.xaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    save_figure(figure, path)
