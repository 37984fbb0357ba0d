"""Chart of two sets of answers: one pair of bars for each share, red where they differ by over three standard errors."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmnist_runtime.console import counted, printable
from fmnist_runtime.drift.counts import EDGES, AnswerCounts
from fmnist_runtime.drift.permutation import Finding
from fmnist_runtime.errors import ConfigError, FmnistError, reason_of
from fmnist_runtime.files import write_atomically

__all__ = ["check_chart", "draw_chart", "write_chart"]

_WIDTH, _ROW, _LEFT, _BAR = 900, 34, 170, 560
"""Pixels: width of the chart, height of a row, start of the bars, length of the longest bar."""
_TEXT_COLOR, _AXIS_COLOR = "#1f2328", "#d0d7de"
_REFERENCE_COLOR, _TODAY_COLOR, _CHANGED_COLOR = "#8c959f", "#1f6feb", "#cf222e"
_STANDARD_ERRORS = 3
"""Number of standard errors above which the bar of a difference is red: by chance, one bar in 370."""


class _Panel(NamedTuple):
    title: str
    rows: list[str]
    """Names of the rows."""
    reference: np.ndarray
    """Counts of the reference, int64 ``[len(rows)]``."""
    today: np.ndarray
    """Counts of today, int64 ``[len(rows)]``."""


def draw_chart(reference: AnswerCounts, today: AnswerCounts, findings: list[Finding]) -> Image.Image:
    """Draws the shares of labels, rejections and confidence bins: gray for the reference, blue for today, red if they differ.

    Args:
        reference: Counts to compare with.
        today: Counts that were tested.
        findings: Results of the tests, printed at the top.

    Returns:
        RGB image, 900 pixels wide.
    """
    names = sorted({*reference.labels, *today.labels})
    before, now = (
        np.array([*(counts.labels.get(name, 0) for name in names), counts.rejected]) for counts in (reference, today)
    )
    edges = [f"to {edge:g}" for edge in EDGES] + [f"over {EDGES[-1]:g}"]
    panels = [
        _Panel("Answers", [*map(printable, names), "I don't know"], before, now),
        _Panel("Confidence", edges, reference.confidence, today.confidence),
    ]
    chart = Image.new("RGB", (_WIDTH, 110 + sum(50 + _ROW * len(panel.rows) for panel in panels)), "white")
    draw = ImageDraw.Draw(chart)
    verdict = ", ".join(f"{f.what} {'CHANGED' if f.changed else 'as before'} (p {f.p:.4f})" for f in findings)
    draw.text((20, 18), verdict, _TEXT_COLOR, _font(18))
    draw.text((20, 50), f"gray: reference, {counted(reference.total, 'image')}", _REFERENCE_COLOR, _font(15))
    draw.text((320, 50), f"blue: today, {counted(today.total, 'image')}", _TODAY_COLOR, _font(15))
    draw.text((580, 50), f"red: differs by over {_STANDARD_ERRORS} standard errors", _CHANGED_COLOR, _font(15))
    top = 90
    for panel in panels:
        top = _draw_panel(draw, top, panel)
    return chart


def write_chart(path: Path, reference: AnswerCounts, today: AnswerCounts, findings: list[Finding]) -> None:
    """Writes the image of ``draw_chart`` as a PNG file, whole or not at all.

    Raises:
        ConfigError: See ``check_chart``.
        FmnistError: The file cannot be written.
    """
    check_chart(path)
    file = io.BytesIO()
    draw_chart(reference, today, findings).save(file, "PNG")
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise FmnistError(f"--picture: cannot write {path}: {reason_of(error)}") from error


def check_chart(path: Path) -> None:
    """Checks that a chart would replace no other file; called before the tests.

    Raises:
        ConfigError: The path is a folder, or the file exists and is no PNG image.
    """
    if path.is_dir():
        raise ConfigError(f"--picture: {path} is a folder; name a file")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(4) != b"\x89PNG":
                raise ConfigError(f"--picture: {path} exists and is no PNG image; name another file")


def _draw_panel(draw: ImageDraw.ImageDraw, top: int, panel: _Panel) -> int:
    """Draws one panel whose upper edge is ``top``, and returns the upper edge of the next, in pixels."""
    draw.text((20, top), panel.title, _TEXT_COLOR, _font(18))
    totals = [max(counts.sum(), 1) for counts in (panel.reference, panel.today)]
    before, after = panel.reference / totals[0], panel.today / totals[1]
    pooled = (panel.reference + panel.today) / (panel.reference.sum() + panel.today.sum())
    errors = np.sqrt(pooled * (1 - pooled) * (1 / totals[0] + 1 / totals[1]))
    scale = _BAR / max(before.max(), after.max(), 0.01)
    top += 34
    for name, old, new, error in zip(panel.rows, before, after, errors, strict=True):
        color = _CHANGED_COLOR if abs(new - old) > _STANDARD_ERRORS * error else _TODAY_COLOR
        draw.text((_LEFT - 12, top + 13), name, _TEXT_COLOR, _font(15), anchor="rm")
        draw.rectangle((_LEFT, top, _LEFT + old * scale, top + 11), _REFERENCE_COLOR)
        draw.rectangle((_LEFT, top + 13, _LEFT + new * scale, top + 24), color)
        end = _LEFT + max(old, new) * scale + 10
        draw.text((end, top + 13), f"{old:.1%} -> {new:.1%}", _TEXT_COLOR, _font(14), anchor="lm")
        top += _ROW
    draw.line((_LEFT, top - _ROW * len(panel.rows) - 4, _LEFT, top - 4), _AXIS_COLOR)
    return top + 16


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
