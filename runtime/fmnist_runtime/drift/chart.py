"""The comparison as a picture: shares side by side, with the range in which chance would keep today's."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmnist_runtime.drift.counts import EDGES, Tally
from fmnist_runtime.drift.permutation import Finding
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.files import write_atomically

__all__ = ["draw", "write_picture"]

_WIDTH, _ROW, _LEFT, _BAR = 900, 34, 170, 560
_INK, _FAINT, _BEFORE, _DAY, _ALARM = "#1f2328", "#d0d7de", "#8c959f", "#1f6feb", "#cf222e"


def draw(reference: Tally, today: Tally, findings: list[Finding]) -> Image.Image:
    """Two panels, labels (with rejections) and confidence: grey the reference, blue today, red where they differ."""
    names = sorted({*reference.labels, *today.labels})
    labels = [np.array([*(t.labels.get(name, 0) for name in names), t.rejected]) for t in (reference, today)]
    edges = [f"to {edge:g}" for edge in EDGES] + [f"over {EDGES[-1]:g}"]
    panels = [
        ("Answers", [*names, "I don't know"], *labels),
        ("Confidence", edges, reference.confidence, today.confidence),
    ]
    height = 110 + sum(50 + _ROW * len(rows) for _, rows, _, _ in panels)
    sheet = Image.new("RGB", (_WIDTH, height), "white")
    pen = ImageDraw.Draw(sheet)
    verdict = ", ".join(f"{f.what} {'CHANGED' if f.changed else 'as before'} (p {f.p:.4f})" for f in findings)
    pen.text((20, 18), verdict, _INK, _font(18))
    pen.text((20, 50), f"grey: reference, {reference.total:,} pictures", _BEFORE, _font(15))
    pen.text((320, 50), f"blue: today, {today.total:,} pictures", _DAY, _font(15))
    pen.text((580, 50), "red: further off than 3 standard errors", _ALARM, _font(15))
    top = 90
    for panel in panels:
        top = _panel(pen, top, *panel)
    return sheet


def write_picture(path: Path, reference: Tally, today: Tally, findings: list[Finding]) -> None:
    """Write ``draw`` as PNG, whole or not at all.

    Raises:
        FmnistError: it cannot be written.
    """
    file = io.BytesIO()
    draw(reference, today, findings).save(file, "PNG")
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise FmnistError(f"--picture: cannot write {path}: {error.strerror or error}") from error


def _panel(pen: ImageDraw.ImageDraw, top: int, title: str, rows: list[str], before: np.ndarray, day: np.ndarray) -> int:
    """Draw one panel and return where the next begins."""
    pen.text((20, top), title, _INK, _font(18))
    old, new = before / max(before.sum(), 1), day / max(day.sum(), 1)
    pooled = (before + day) / (before.sum() + day.sum())
    error = np.sqrt(pooled * (1 - pooled) * (1 / max(before.sum(), 1) + 1 / max(day.sum(), 1)))
    scale = _BAR / max(old.max(), new.max(), 0.01)
    top += 34
    for name, was, is_, spread in zip(rows, old, new, error, strict=True):
        colour = _ALARM if abs(is_ - was) > 3 * spread else _DAY
        pen.text((_LEFT - 12, top + 13), name, _INK, _font(15), anchor="rm")
        pen.rectangle((_LEFT, top, _LEFT + was * scale, top + 11), _BEFORE)
        pen.rectangle((_LEFT, top + 13, _LEFT + is_ * scale, top + 24), colour)
        pen.text(
            (_LEFT + max(was, is_) * scale + 10, top + 13), f"{was:.1%} -> {is_:.1%}", _INK, _font(14), anchor="lm"
        )
        top += _ROW
    pen.line((_LEFT, top - _ROW * len(rows) - 4, _LEFT, top - 4), _FAINT)
    return top + 16


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
