"""Galleries: images beside their most probable classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_train.data.splits import stratified_draw
from fmnist_train.evaluation.figures import GREEN, LIGHT, RED, save_figure, shorten

__all__ = ["Predictions", "most_confident_mistakes", "write_sample_predictions", "write_worst_mistakes"]

_SHOWN = 20
"""Number of images in a gallery."""
_COLUMNS = 4


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
    height = 1.35 * rows + 0.6
    figure = Figure(figsize=(11.5, height))
    figure.suptitle(title, fontsize=13, y=1 - 0.22 / height, va="center")
    widths = [1, 1.35] * _COLUMNS
    grid = figure.add_gridspec(rows, len(widths), width_ratios=widths, wspace=0.06, hspace=0.42)
    grid.update(left=0.01, right=0.99, bottom=0.02, top=1 - 0.75 / height)
    for place, image in enumerate(predictions.images):
        row, column = divmod(place, _COLUMNS)
        left, bars = (figure.add_subplot(grid[row, 2 * column + side]) for side in (0, 1))
        left.imshow(image, cmap="gray", vmin=0, vmax=255)
        left.set_axis_off()
        _draw_top(bars, predictions, place)
    save_figure(figure, path)


def _draw_top(axes: Axes, predictions: Predictions, place: int) -> None:
    """Draws the most probable classes as named bars: the true class in green, a wrong first class in vermilion."""
    probabilities, class_names = predictions.probabilities[place], predictions.class_names
    label = int(predictions.labels[place])
    top = np.argsort(-probabilities, kind="stable")[:3]
    mark, color = ("✓", GREEN) if top[0] == label else ("✗", RED)
    title = f"{mark} true: {shorten(class_names[label], 15)}"
    axes.set_title(title, fontsize=9, color=color, loc="left", pad=3, fontweight="bold")
    for place, class_id in enumerate(top):
        color = GREEN if class_id == label else RED if place == 0 else LIGHT
        axes.barh(place + 0.32, probabilities[class_id], height=0.22, color=color, left=0)
        axes.text(0, place + 0.12, shorten(class_names[class_id], 14), fontsize=8, va="bottom")
        axes.text(1, place + 0.12, f"{probabilities[class_id]:.1%}", fontsize=8, va="bottom", ha="right")
    axes.set(xlim=(0, 1), ylim=(2.6, -0.35))
    axes.set_axis_off()
