"""What all pictures have in common: colours, the look of a panel, and writing the file.

The colours are Okabe and Ito's, which remain distinct to colour-blind eyes; no meaning rests on a colour alone.
"""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_train.files import write_atomically

__all__ = ["BLUE", "GREEN", "GREY", "LIGHT", "MARKERS", "ORANGE", "RED", "save_figure", "shorten", "style_panel"]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY, LIGHT = "#6b6b6b", "#b8b8b8"
MARKERS = "os^vD<>pP*X"
"""Marker styles for points that a legend names, in its order; not everybody can tell colors apart."""

_DPI = 110


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically; folders on the way are made."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)
    write_atomically(Path(path), buffer.getvalue())


def style_panel(axes: Axes, title: str) -> None:
    """A panel with its title at the left, a pale grid behind, and no box around."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, the last an ellipsis where something was cut; no dollar sign starts a formula."""
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")
