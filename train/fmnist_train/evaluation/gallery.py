"""Galleries: images beside their most probable classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fmnist_train.data.splits import stratified_draw
from fmnist_train.evaluation.figures import GREEN, LIGHT, RED, draw_image, panel_in_inches, save_figure, shorten

__all__ = ["Predictions", "most_confident_mistakes", "write_sample_predictions", "write_worst_mistakes"]

_SHOWN = 20
"""Number of images in a gallery."""
_COLUMNS = 4
_HEAD, _LINE, _GAP = 0.5, 0.24, 0.14
"""Heights of the title and of the line above an image, and gap beside it, in inches; so below."""
_SIDE, _BAR = 1.0, 1.55
"""Side of an image, and length of the bar of a probability of 1."""
_CELL = 2 * _GAP + _SIDE + _BAR, _LINE + _SIDE + 0.14
"""Width and height of an image with its bars."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Images with their true classes and the probabilities that a model gave them."""

    images: np.ndarray
    """uint8 ``[N, 28, 28]``."""
    labels: np.ndarray
    """int ``[N]``, true class ids."""
    probabilities: np.ndarray
    """float ``[N, classes]``."""
    class_names: Sequence[str]
    """Name of each class id."""

    def take(self, indices: np.ndarray) -> "Predictions":
        """Returns the predictions at these positions, int ``[M]``."""
        return Predictions(self.images[indices], self.labels[indices], self.probabilities[indices], self.class_names)


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int = _SHOWN) -> np.ndarray:
    """Returns the positions of wrong predictions, int ``[M]``, the most confident first, at most ``count`` of them."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def write_sample_predictions(predictions: Predictions, path: Path) -> None:
    """Writes a PNG with 20 images, equally many of each class, and the three most probable classes of each."""
    labels = predictions.labels
    chosen = stratified_draw(labels, min(_SHOWN, len(labels)), seed=0)
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    _write_gallery("Sample predictions", predictions.take(chosen), path)


def write_worst_mistakes(predictions: Predictions, path: Path) -> None:
    """Writes a PNG with the 20 wrong predictions of the highest confidence."""
    mistakes = int((predictions.probabilities.argmax(axis=1) != predictions.labels).sum())
    worst = most_confident_mistakes(predictions.probabilities, predictions.labels)
    title = f"The most confident of {mistakes:,} mistakes" if mistakes else "No mistakes"
    _write_gallery(title, predictions.take(worst), path)


def _write_gallery(title: str, predictions: Predictions, path: Path) -> None:
    rows = max(1, -(-len(predictions.images) // _COLUMNS))
    width, height = _COLUMNS * _CELL[0] + _GAP, rows * _CELL[1] + _HEAD
    figure = Figure(figsize=(width, height))
    axes = panel_in_inches(figure)
    axes.text(width / 2, _HEAD / 2, title, fontsize=13, ha="center", va="center")
    for place, image in enumerate(predictions.images):
        row, column = divmod(place, _COLUMNS)
        left, top = column * _CELL[0] + _GAP, row * _CELL[1] + _HEAD
        draw_image(axes, image, left, top + _LINE, _SIDE)
        _draw_top(axes, left + _SIDE + _GAP, top, predictions, place)
    save_figure(figure, path)


def _draw_top(axes: Axes, left: float, top: float, predictions: Predictions, place: int) -> None:
    """Draws the most probable classes as named bars: the true class in green, a wrong first class in vermilion."""
    probabilities, class_names = predictions.probabilities[place], predictions.class_names
    label = int(predictions.labels[place])
    best = np.argsort(-probabilities, kind="stable")[:3]
    mark, color = ("✓", GREEN) if best[0] == label else ("✗", RED)
    title = f"{mark} true: {shorten(class_names[label], 15)}"
    axes.text(left, top + 0.16, title, fontsize=9, color=color, fontweight="bold", va="baseline")
    for rank, class_id in enumerate(best):
        color = GREEN if class_id == label else RED if rank == 0 else LIGHT
        line = top + _LINE + (rank + 0.4) * _SIDE / 3
        axes.text(left, line, shorten(class_names[class_id], 14), fontsize=8, va="baseline")
        axes.text(left + _BAR, line, f"{probabilities[class_id]:.1%}", fontsize=8, va="baseline", ha="right")
        axes.add_patch(Rectangle((left, line + 0.05), _BAR * probabilities[class_id], 0.07, color=color, linewidth=0))
