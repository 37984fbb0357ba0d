"""Chart of two sets of answers: shares as pairs of bars; differences beyond three standard errors are red."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmnist_runtime.console import counted, printable
from fmnist_runtime.drift.counts import EDGES, AnswerCounts
from fmnist_runtime.drift.permutation import Finding
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.files import write_atomically

__all__ = ["draw_chart", "write_chart"]

_WIDTH, _ROW, _LEFT, _BAR = 900, 34, 170, 560
"""Pixels: width of the chart, height of a row, start of the bars, length of the longest bar."""
_INK, _FAINT, _BEFORE, _DAY, _ALARM = "#1f2328", "#d0d7de", "#8c959f", "#1f6feb", "#cf222e"
_STANDARD_ERRORS = 3
"""Standard errors of a difference above which its bar is red: by chance, one bar in 370 is."""


class _Panel(NamedTuple):
    title: str
    rows: list[str]
    """Names of the rows."""
    before: np.ndarray
    """Counts of the reference, ``[len(rows)]``."""
    day: np.ndarray
    """Counts of today, ``[len(rows)]``."""


def draw_chart(reference: AnswerCounts, today: AnswerCounts, findings: list[Finding]) -> Image.Image:
    """Draws the shares of the labels, rejections and confidence bins: gray the reference, blue today, red where they differ.

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
    sheet = Image.new("RGB", (_WIDTH, 110 + sum(50 + _ROW * len(panel.rows) for panel in panels)), "white")
    pen = ImageDraw.Draw(sheet)
    verdict = ", ".join(f"{f.what} {'CHANGED' if f.changed else 'as before'} (p {f.p:.4f})" for f in findings)
    pen.text((20, 18), verdict, _INK, _font(18))
    pen.text((20, 50), f"gray: reference, {counted(reference.total, 'picture')}", _BEFORE, _font(15))
    pen.text((320, 50), f"blue: today, {counted(today.total, 'picture')}", _DAY, _font(15))
    pen.text((580, 50), f"red: differs by over {_STANDARD_ERRORS} standard errors", _ALARM, _font(15))
    top = 90
    for panel in panels:
        top = _draw_panel(pen, top, panel)
    return sheet


def write_chart(path: Path, reference: AnswerCounts, today: AnswerCounts, findings: list[Finding]) -> None:
    """Writes the image of ``draw_chart`` as a PNG file, whole or not at all.

    Raises:
        FmnistError: The file cannot be written.
    """
    file = io.BytesIO()
    draw_chart(reference, today, findings).save(file, "PNG")
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise FmnistError(f"--picture: cannot write {path}: {error.strerror or error}") from error


def _draw_panel(pen: ImageDraw.ImageDraw, top: int, panel: _Panel) -> int:
    """Draws one panel from ``top``, and returns the top of the next."""
    pen.text((20, top), panel.title, _INK, _font(18))
    before, day = panel.before, panel.day
    old, new = before / max(before.sum(), 1), day / max(day.sum(), 1)
    pooled = (before + day) / (before.sum() + day.sum())
    errors = np.sqrt(pooled * (1 - pooled) * (1 / max(before.sum(), 1) + 1 / max(day.sum(), 1)))
    scale = _BAR / max(old.max(), new.max(), 0.01)
    top += 34
    for name, was, now, error in zip(panel.rows, old, new, errors, strict=True):
        color = _ALARM if abs(now - was) > _STANDARD_ERRORS * error else _DAY
        pen.text((_LEFT - 12, top + 13), name, _INK, _font(15), anchor="rm")
        pen.rectangle((_LEFT, top, _LEFT + was * scale, top + 11), _BEFORE)
        pen.rectangle((_LEFT, top + 13, _LEFT + now * scale, top + 24), color)
        end = _LEFT + max(was, now) * scale + 10
        pen.text((end, top + 13), f"{was:.1%} -> {now:.1%}", _INK, _font(14), anchor="lm")
        top += _ROW
    pen.line((_LEFT, top - _ROW * len(panel.rows) - 4, _LEFT, top - 4), _FAINT)
    return top + 16


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
