"""Small charts of lines and points as coordinates, which the page's template draws as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Line", "draw"]

WIDTH, HEIGHT = 340, 200
"""Size of a chart in its own units; the page scales it."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 34
"""Margins for the labels of the axes."""


@dataclass(frozen=True)
class Line:
    """Line through points; a single point is drawn as a dot."""

    points: Sequence[tuple[float, float]]
    """Coordinates x and y."""
    kind: str
    """CSS class."""
    title: str = ""
    """Text that appears under the pointer."""


@dataclass(frozen=True)
class Chart:
    """A chart in its own units, ``width`` by ``height``."""

    x_label: str
    y_label: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    """Position and text of each tick."""
    y_ticks: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    bottom: int = HEIGHT - _BOTTOM
    right: int = WIDTH - _RIGHT
    top: int = _TOP


def draw(lines: Sequence[Line], x_label: str, y_label: str, *, log: bool = False, whole: bool = False) -> Chart | None:
    """Scales lines to a chart whose vertical axis is a share in percent; None if there are no points.

    Args:
        lines: Lines in the units of the data.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        log: Whether the horizontal axis is logarithmic.
        whole: Whether the horizontal axis is labeled only at whole numbers.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return None
    along = [math.log10(x) if log else x for x, _ in points]
    x_low, x_high = _range(along, 1.0)
    y_low, y_high = _range([y for _, y in points], 0.01)

    def place(x: float, y: float) -> tuple[float, float]:
        x = math.log10(x) if log else x
        across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    scaled = [Line([place(*point) for point in line.points], line.kind, line.title) for line in lines]
    shown = [10**x if log else x for x in (x_low, (x_low + x_high) / 2, x_high)]
    heights = (y_low, (y_low + y_high) / 2, y_high)
    return Chart(
        x_label,
        y_label,
        scaled,
        x_ticks=[(place(x, y_low)[0], f"{x:.3g}") for x in shown if not whole or x == int(x)],
        y_ticks=[(place(shown[0], y)[1], f"{y:.1%}") for y in heights],
    )


def _range(values: Sequence[float], least: float) -> tuple[float, float]:
    """Returns the smallest and the largest value; if they are nearly equal, a range of the width ``least`` around them."""
    low, high = min(values), max(values)
    if high - low < least / 1000:
        return low - least / 2, high + least / 2
    return low, high
