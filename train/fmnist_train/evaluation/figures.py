"""Common parts of all plots: colors, the style of a panel, and writing of the file.

The colors are those of Okabe and Ito, which color-blind people can distinguish. No plot depends on color alone.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fmnist_runtime.files import write_atomically

__all__ = [
    "BLUE",
    "GRAY",
    "GREEN",
    "LIGHT",
    "MARKERS",
    "ORANGE",
    "RED",
    "draw_image",
    "panel_in_inches",
    "save_figure",
    "shorten",
    "style_panel",
]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GRAY, LIGHT = "#6b6b6b", "#b8b8b8"
MARKERS = "os^vD<>pP*X"
"""Marker styles of points, in the order of the legend, so that colors are not the only difference."""

_DPI = 110
"""Dots per inch: 11 inches give 1,210 pixels, the width of a README column on dense screens."""
_PAD = 0.1
"""Margin around a panel, in inches."""


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, atomically; missing folders are made. Nothing is cut off, so all must fit into its size."""
    buffer, layout = io.BytesIO(), figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(w_pad=_PAD, h_pad=_PAD)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # class names in other scripts become boxes
        figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    write_atomically(Path(path), buffer.getvalue())


def panel_in_inches(figure: Figure) -> Axes:
    """Returns a panel without axes that fills a figure; its unit is an inch, and its origin the upper left corner.

    A gallery in one panel is drawn five times as fast as with a panel for each image.
    """
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return axes


def draw_image(
    axes: Axes, image: np.ndarray, left: float, top: float, side: float, *, limits: tuple[float, float] = (0, 255)
) -> None:
    """Draws a gray image ``[H, W]`` as a square of such a panel; ``limits`` are the values of black and white."""
    extent = (left, left + side, top + side, top)
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], extent=extent, aspect="auto")


def style_panel(axes: Axes, title: str) -> None:
    """Sets the title at the left, a pale grid behind the data, and no box around the panel."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def shorten(text: str, width: int) -> str:
    """Cuts a text to ``width`` characters with an ellipsis, and escapes dollar signs, which start formulas."""
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")
