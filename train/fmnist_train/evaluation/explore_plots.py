"""Plots of ``explore``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_train.data.splits import Split
from fmnist_train.evaluation.figures import (
    BLUE,
    GRAY,
    ORANGE,
    draw_image,
    panel_in_inches,
    save_figure,
    shorten,
    style_panel,
)

__all__ = ["write_counts", "write_means", "write_pixels", "write_samples", "write_stages"]

_SEED = 0
_SAMPLES = 10
"""Images in a row, one row for each class."""
_CELL, _MARGIN, _HEAD = 0.85, 1.5, 0.65
"""Side of an image with its gap, width of the rows' names, and height of the title, in inches."""


def write_counts(counts: dict[str, np.ndarray], names: Sequence[str], path: Path) -> None:
    """Draws the number of images of each class: bars for both splits, a pie for the training split."""
    size = len(names)
    figure = Figure(figsize=(12, max(4.2, 0.45 * size)), layout="constrained")
    bars, pie = figure.subplots(1, 2, width_ratios=(1.5, 1))
    style_panel(bars, "Images per class")
    for shift, (part, color) in zip((-0.2, 0.2), (("train", BLUE), ("test", ORANGE)), strict=True):
        drawn = bars.barh(
            np.arange(size) + shift, counts[part], 0.38, color=color, label=f"{part} {counts[part].sum():,}"
        )
        bars.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=8)
    bars.set_yticks(range(size), [shorten(name, 18) for name in names])
    bars.invert_yaxis()
    bars.margins(x=0.1)
    bars.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(frameon=False, loc="outside lower left", ncols=2)
    pie.set_title("Share of the training images", fontweight="bold")
    shades = [(BLUE, 0.9 if place % 2 else 0.6) for place in range(size)]
    wedges = {"edgecolor": "white", "linewidth": 1.5}
    share = counts["train"] / counts["train"].sum()
    labels = [f"{shorten(name, 14)} {part:.1%}" for name, part in zip(names, share, strict=True)]
    pie.pie(
        share, labels=labels, colors=shades, startangle=90, counterclock=False, wedgeprops=wedges, textprops={"size": 9}
    )
    save_figure(figure, path)


def write_samples(train: Split, names: Sequence[str], path: Path) -> None:
    """Draws ten training images of each class."""
    rng = np.random.default_rng(_SEED)
    rows = []
    for label in range(len(names)):
        members = np.flatnonzero(train.labels == label)
        rows.append(train.images[rng.permutation(members)[:_SAMPLES]])
    _write_rows("Training images", rows, names, path)


def write_means(train: Split, names: Sequence[str], path: Path) -> None:
    """Draws the mean and the standard deviation of the images of each class."""
    members = [train.images[train.labels == label] for label in range(len(names))]
    rows = [[f(images, axis=0) for images in members if len(images)] for f in (np.mean, np.std)]
    present = [name for name, images in zip(names, members, strict=True) if len(images)]
    _write_rows("Mean and standard deviation of each class", rows, ("mean", "standard deviation"), path, heads=present)


def write_stages(stages: dict[str, np.ndarray], path: Path) -> None:
    """Draws the same images at each stage, ``[N, 28, 28]`` or ``[N, 1, 28, 28]``, with data type and range."""
    names = [f"{name}\n{values.dtype}\n{values.min():.3g} to {values.max():.3g}" for name, values in stages.items()]
    rows = [list(values.reshape(len(values), *values.shape[-2:])) for values in stages.values()]
    _write_rows("The images at each stage of training", rows, names, path)


def _write_rows(
    title: str,
    rows: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    path: Path,
    *,
    heads: Sequence[str] = (),
) -> None:
    """Draws a grid of gray images with row names at the left; each row has its own gray scale."""
    columns = max(len(row) for row in rows)
    width, height = _MARGIN + _CELL * columns + 0.15, _HEAD + _CELL * len(rows) + 0.15
    figure = Figure(figsize=(width, height))
    axes = panel_in_inches(figure)
    axes.text(width / 2, 0.2, title, ha="center", va="center", fontsize=13)
    for line, (row, name) in enumerate(zip(rows, names, strict=True)):
        top, text = _HEAD + _CELL * line, _shorten_lines(name)
        axes.text(_MARGIN - 0.1, top + _CELL / 2, text, ha="right", va="center", fontsize=9)
        low, high = (min(image.min() for image in row), max(image.max() for image in row)) if len(row) else (0, 1)
        for place, image in enumerate(row):
            draw_image(axes, image, _MARGIN + _CELL * place, top, 0.95 * _CELL, limits=(low, high))
    for place, head in enumerate(heads[:columns]):
        axes.text(_MARGIN + _CELL * (place + 0.475), _HEAD - 0.05, shorten(head, 12), ha="center", fontsize=8)
    save_figure(figure, path)


def _shorten_lines(name: str) -> str:
    return "\n".join(shorten(line, 20) for line in name.split("\n"))


def write_pixels(train: Split, names: Sequence[str], path: Path) -> None:
    """Draws the histogram of all pixels, and the brightness of the images of each class."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    histogram, brightness = figure.subplots(1, 2)
    style_panel(histogram, "Pixel values")
    share = np.bincount(train.images.reshape(-1), minlength=256) / train.images.size
    histogram.fill_between(np.arange(256), share, 0.5 * share[share > 0].min(), step="mid", color=BLUE, linewidth=0)
    histogram.set(yscale="log", xlabel="pixel value", ylabel="share of all pixels", xlim=(-3, 258))
    histogram.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2))
    histogram.set_title(f"{share[0]:.1%} are 0, the background", loc="right", fontsize=9, color=GRAY)
    _draw_brightness(brightness, train, names)
    save_figure(figure, path)


def _draw_brightness(axes: Axes, train: Split, names: Sequence[str]) -> None:
    style_panel(axes, "Brightness of the images")
    brightness = train.images.mean(axis=(1, 2))
    groups = [brightness[train.labels == label] for label in range(len(names))]
    box: dict[str, Any] = {
        "boxprops": {"facecolor": "#cfe3f1", "edgecolor": BLUE},
        "medianprops": {"color": BLUE, "linewidth": 2},
    }
    labels = [shorten(name, 16) for name in names]
    axes.boxplot(groups, patch_artist=True, showfliers=False, whis=(5, 95), widths=0.6, **box)
    axes.set_xticks(range(1, len(names) + 1), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("mean pixel of an image")
    axes.set_title("box: 50% of the images, whiskers: 90%", loc="right", fontsize=9, color=GRAY)
