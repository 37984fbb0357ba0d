"""Drawn sheets of paper: receipts, letters, forms, notes, labels and pages, on a background or filling the picture.

The preprocessing finds a sheet as well as a garment, and many sheets have a garment's outline: a receipt that of trousers, a
letter that of a shirt. Few photos of clothes show one, so a network learns them from drawings. Writing is drawn as strokes
without a font, since a picture of 28×28 pixels keeps its rhythm alone.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["draw_sheet", "lay_on"]

_LONGEST = 300
"""Longest side of a sheet, pixels; views are at most a little larger (``ViewSettings.distance``)."""


def draw_sheet(rng: np.random.Generator) -> Image.Image:
    """Returns a sheet, RGB, 300 pixels on its longest side: paper in a light color with blocks of writing and the like."""
    ratio = rng.choice((1.0, 1.35, 1.41, 1.41, 1.8, 2.4, 3.2)) * rng.uniform(0.9, 1.1)
    width, height = max(60, round(_LONGEST / max(ratio, 1))), _LONGEST
    if rng.random() < 0.2:
        width, height = height, width
    color = rng.uniform(215, 255) * (1 - rng.uniform(0, 0.3, 3) * (rng.random() < 0.35))
    sheet = Image.new("RGB", (width, height), _rgb(color))
    draw, ink = ImageDraw.Draw(sheet), rng.uniform(0, 110) * (1 - rng.uniform(0, 0.6, 3) * (rng.random() < 0.3))
    margin = rng.uniform(0.03, 0.16) * width
    top, end = margin * rng.uniform(0.5, 1.5), height * rng.choice((1.0, 1.0, rng.uniform(0.3, 1.0)))
    line = rng.uniform(0.02, 0.07) * _LONGEST  # the same writing on all of the sheet, apart from headings
    while top < end - margin:
        block = _BLOCKS[rng.integers(len(_BLOCKS))]
        bottom = min(end - margin, top + rng.uniform(2, 9) * line)
        block(draw, (margin, top, width - margin, bottom), line, _rgb(ink), rng)
        top = bottom + rng.uniform(0.3, 2) * line
    return sheet


def lay_on(sheet: Image.Image, ground: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Returns the sheet as it lies on a ground: turned, seen a little from the side, with shading and a shadow.

    Args:
        sheet: See ``draw_sheet``.
        ground: float32 ``[H, W, 3]`` in 0..255, changed in place.
        rng: Source of the random draws.
    """
    height, width = ground.shape[:2]
    shade = 1 - rng.uniform(0, 0.25) * np.linspace(0, 1, sheet.width if rng.random() < 0.5 else sheet.height)
    shade = shade[None, :, None] if len(shade) == sheet.width else shade[:, None, None]
    if rng.random() < 0.3:  # a fold
        fold = round(rng.uniform(0.3, 0.7) * sheet.height)
        shade = np.broadcast_to(shade, (sheet.height, sheet.width, 1)).copy()
        shade[fold:] *= rng.uniform(0.85, 0.97)
    shaded = Image.fromarray((np.asarray(sheet, np.float32) * shade).round().astype(np.uint8))
    angle = math.radians(rng.normal(0, 8) + 90 * (rng.random() < 0.1))
    scale = rng.uniform(0.55, 0.95) * min(width / sheet.width, height / sheet.height)
    half = np.array([sheet.width, sheet.height]) * scale / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half * rng.uniform(0.93, 1.07, (4, 2))
    turn = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    center = np.array([width, height]) * rng.uniform(0.42, 0.58, 2)
    placed = corners @ turn.T + center
    coefficients = _perspective(placed, sheet.size)
    mask = Image.new("L", sheet.size, 255).transform(
        (width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    seen = shaded.transform((width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    shadow = np.roll(np.asarray(mask.filter(ImageFilter.GaussianBlur(rng.uniform(1, 5))), np.float32), 2, (0, 1))
    ground *= 1 - rng.uniform(0, 0.5) * shadow[..., None] / 255
    alpha = np.asarray(mask, np.float32)[..., None] / 255
    ground += alpha * (np.asarray(seen, np.float32) - ground)
    return Image.fromarray(ground.clip(0, 255).round().astype(np.uint8))


def _perspective(placed: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Returns the eight coefficients that map the placed corners, ``[4, 2]``, to those of a picture of this size."""
    source = np.array([(0, 0), (size[0], 0), size, (0, size[1])], float)
    rows = []
    for (x, y), (u, v) in zip(placed, source, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    solved: list[float] = np.linalg.solve(np.array(rows), source.ravel()).tolist()
    return solved


_Box = tuple[float, float, float, float]
_Color = tuple[int, ...]


def _rgb(color: np.ndarray | float) -> _Color:
    return tuple(np.broadcast_to(np.rint(color).astype(int), 3).tolist())


def _writing(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """Lines of words, left, centered or justified; a word is a row of letters, each of a few strokes."""
    left, top, right, bottom = box
    pen, length, indent = max(1, round(line * rng.uniform(0.08, 0.2))), rng.uniform(0.4, 1), rng.random() < 0.25
    while top + line <= bottom:
        end = left + (right - left) * min(1, length * rng.uniform(0.7, 1.3))
        x = left + (right - end) / 2 * indent
        end += x - left
        while x < end:
            for _ in range(rng.integers(1, 10)):
                if x + 0.45 * line > end:
                    break
                tall = top + 0.3 * line * (rng.random() < 0.7)
                ends = rng.uniform((x, tall), (x + 0.4 * line, top + line), (4, 2))
                draw.line([*map(tuple, ends)], ink, pen)
                x += 0.5 * line
            x += 0.5 * line
        top += 1.5 * line


def _prices(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """Words on the left and figures on the right, as on a receipt."""
    left, top, right, bottom = box
    gap = rng.uniform(0.4, 0.7)
    while top + line <= bottom:
        _writing(draw, (left, top, left + gap * (right - left), top + 1.4 * line), line, ink, rng)
        _writing(draw, (left + rng.uniform(0.75, 0.85) * (right - left), top, right, top + 1.4 * line), line, ink, rng)
        top += 1.5 * line


def _heading(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """One or two lines of large, heavy writing."""
    left, top, right, bottom = box
    _writing(draw, (left, top, right, bottom), min(line * rng.uniform(1.5, 3), bottom - top), ink, rng)


def _table(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """Ruled rows and columns, some cells filled in."""
    left, top, right, bottom = box
    columns = np.linspace(left, right, rng.integers(2, 7))
    rows = np.arange(top, bottom, 1.8 * line)
    for y in rows:
        draw.line((left, y, right, y), ink)
    for x in columns:
        draw.line((x, top, x, float(rows[-1])), ink)
    for y in rows[:-1]:
        for x, end in itertools.pairwise(columns):
            if rng.random() < 0.6:
                _writing(draw, (x + 2, y + 0.3 * line, end - 2, y + 1.6 * line), line, ink, rng)


def _bars(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """A bar code, or a square of cells."""
    left, top, right, bottom = box
    if rng.random() < 0.5:
        x = left + rng.uniform(0, 0.3) * (right - left)
        while x < right:
            draw.rectangle((x, top, x + rng.uniform(0.5, 4), bottom), ink)
            x += rng.uniform(3, 9)
        return
    side = min(right - left, bottom - top)
    x, cell = left + rng.uniform(0, 1) * (right - left - side), side / 12
    for row, column in np.argwhere(rng.random((12, 12)) < 0.5):
        y = top + row * cell
        draw.rectangle((x + column * cell, y, x + (column + 1) * cell, y + cell), ink)


def _picture(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """A printed picture: one tone, with a few shapes."""
    left, top, right, bottom = box
    draw.rectangle((left, top, right, bottom), _rgb(rng.uniform(60, 220, 3)))
    for _ in range(rng.integers(0, 4)):
        x, y = sorted(rng.uniform(left, right, 2)), sorted(rng.uniform(top, bottom, 2))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x[0], y[0], x[1], y[1]), _rgb(rng.uniform(30, 240, 3)))


def _handwriting(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """Lines of joined loops."""
    left, top, right, bottom = box
    pen, size = max(1, round(line * rng.uniform(0.08, 0.2))), line * rng.uniform(1, 1.6)
    while top + size <= bottom:
        end = left + (right - left) * rng.uniform(0.3, 1)
        x = np.arange(left, end, size / 6)
        y = top + size * (0.5 + rng.uniform(0.1, 0.45, len(x)) * np.sin(np.arange(len(x)) * rng.uniform(1.2, 2)))
        if len(x) > 1:
            draw.line([*zip(x.tolist(), y.tolist(), strict=True)], ink, pen)
        top += 1.5 * size


def _empty(draw: ImageDraw.ImageDraw, box: _Box, line: float, ink: _Color, rng: np.random.Generator) -> None:
    """Paper without anything, or with a rule."""
    if rng.random() < 0.5:
        draw.line((box[0], box[1], box[2], box[1]), ink)


_BLOCKS: tuple[Callable[[ImageDraw.ImageDraw, _Box, float, _Color, np.random.Generator], None], ...] = (
    _writing,
    _writing,
    _writing,
    _prices,
    _prices,
    _heading,
    _table,
    _bars,
    _picture,
    _handwriting,
    _empty,
)
"""What a sheet is filled with, block by block, drawn with equal probability; writing is the most common."""
