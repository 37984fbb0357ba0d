"""Common parts of all plots: colors, the style of a panel, and writing of the file.

The colors are those of Okabe and Ito, which color-blind people can distinguish. No plot depends on color alone.
"""

import io
import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_runtime.files import write_atomically

__all__ = ["BLUE", "GRAY", "GREEN", "LIGHT", "MARKERS", "ORANGE", "RED", "save_figure", "shorten", "style_panel"]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GRAY, LIGHT = "#6b6b6b", "#b8b8b8"
MARKERS = "os^vD<>pP*X"
"""Marker styles of points, in the order of the legend, so that colors are not the only difference."""

_DPI = 110
"""Dots per inch: 11 inches give 1,210 pixels, the width of a README column on dense screens."""


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, atomically; missing folders are made."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # class names in other scripts become boxes
        figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)
    write_atomically(Path(path), buffer.getvalue())


def style_panel(axes: Axes, title: str) -> None:
    """Sets the title at the left, a pale grid behind the data, and no box around the panel."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def shorten(text: str, width: int) -> str:
    """Cuts a text to ``width`` characters with an ellipsis, and escapes dollar signs, which start formulas."""
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")
