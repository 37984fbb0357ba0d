"""Take away whoever wears the garment: head, skin, and the clothes above or below it.

Shop pictures show shirts worn by a person, head to hips, and trousers with the end of a shirt above them; Fashion-MNIST
shows the garment alone. On a plain ground a few plain rules find the rest: a head is a narrow part with skin above a wide
body; arms and hands are skin; a waist is the row where the colour above and below differs most. Where the rules find
nothing, or would take most of the picture, it stays as it is.

Skin is a box in Cb and Cr (Chai and Ngan 1999, "Face segmentation using skin-color map in videophone applications"),
which holds for most complexions, because they differ in lightness more than in hue.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Components, luma, neighbor_count, percentile, to_lab

__all__ = ["without_wearer"]

_WAIST_STEP = 10.0
"""The least difference in CIELAB between the clothes above and below a waist."""
_WAIST = 0.03
"""How far a waist may reach into the garment, as a share of the person's height: a belt, a shadow, a shirt tucked in."""
_BARE = 0.25
"""More skin than this share of the person is not all skin: there are clothes of its colour."""
_LIKE_THE_FACE = 15.0
"""What then is skin differs by less in Cb and Cr from the face, which is in the upper quarter."""
_CRUMB = 0.1
"""Components under this share of the largest are what the skin has left: the edge of an arm, a strand of hair."""


def without_wearer(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the part of ``mask`` that is the garment itself.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        mask: boolean ``[H, W]``: garment and wearer.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    top, bottom = rows[0], rows[-1] + 1
    if bottom - top <= 1.05 * (columns[-1] + 1 - columns[0]):
        return mask  # wider than a standing person
    cut_above, cut_below = top <= 2, bottom >= mask.shape[0] - 2
    skin = _skin(rgb, mask, top, bottom)
    head = _head_row(mask, skin, top, bottom)
    garment = mask.copy()
    if head is not None:
        garment[:head] = False
        garment &= ~skin
    elif (cut_above or cut_below) and 0.01 < skin.sum() / mask.sum() < 0.35:
        garment &= ~skin
    if head is not None or cut_above or cut_below:
        garment = _without_neighbour(
            rgb, garment, above=cut_above and head is None, below=cut_below or head is not None
        )
    parts = Components(garment)
    garment = parts.large(parts.sizes(), _CRUMB)
    return garment if garment.sum() >= 0.25 * mask.sum() else mask


def _skin(rgb: np.ndarray, mask: np.ndarray, top: int, bottom: int) -> np.ndarray:
    grey = luma(rgb)
    # Cb and Cr in millionths, from the middle at 128, are 564 and 713 times as much; all are whole numbers.
    blue_less_grey, red_less_grey = (1000 * rgb[..., channel].astype(np.float32) - grey for channel in (2, 0))
    skin = (blue_less_grey > -48e6 / 564) & (blue_less_grey < -3e6 / 564) & (grey > 50e3) & mask
    skin &= (red_less_grey > 8e6 / 713) & (red_less_grey < 44e6 / 713)
    skin = (neighbor_count(skin) >= 5) & mask
    quarter = np.s_[top : top + (bottom - top) // 4]
    face = skin[quarter].copy()
    if np.count_nonzero(skin) > _BARE * np.count_nonzero(mask) and face.any():
        for difference, unit in ((blue_less_grey, 1e6 / 564), (red_less_grey, 1e6 / 713)):
            difference -= percentile(difference[quarter][face], 50)
            skin &= np.abs(difference) < _LIKE_THE_FACE * unit
    return skin


def _head_row(mask: np.ndarray, skin: np.ndarray, top: int, bottom: int) -> int | None:
    """The row where the head ends and the garment begins, or None where there is no head."""
    height = bottom - top
    width = mask.sum(axis=1)
    below = mask[top + height // 3 : bottom]
    axis = percentile(np.nonzero(below)[1], 50) if below.any() else mask.shape[1] / 2
    body = percentile(width[top + height // 3 : bottom], 80)
    parts = Components(skin)
    size = parts.sizes()
    for part in np.argsort(size, kind="stable")[::-1][:4]:
        if size[part] < 0.006 * np.count_nonzero(mask):
            return None
        y, x = np.nonzero(parts.mask(np.arange(len(size)) == part))
        high = percentile(y, 50) < top + 0.36 * height
        central = abs(percentile(x, 50) - axis) < 0.3 * body and percentile(x, 95) - percentile(x, 5) < 0.62 * body
        narrow = percentile(width[int(percentile(y, 15)) : int(percentile(y, 85)) + 1], 50) < 0.66 * body
        if high and central and narrow:
            return _shoulder_row(width, y, top, bottom)
    return None


def _shoulder_row(width: np.ndarray, face_rows: np.ndarray, top: int, bottom: int) -> int:
    """A little above the first row below the face that is nearly as wide as the body."""
    height = bottom - top
    body = percentile(width[top + height // 3 : bottom], 70)
    rows = np.arange(top, bottom)
    wide = rows[(width[top:bottom] > 0.72 * body) & (rows > percentile(face_rows, 50))]
    shoulder = wide[0] if len(wide) else int(percentile(face_rows, 90))
    shoulder = min(shoulder, top + int(0.45 * height))
    return int(max(percentile(face_rows, 60), shoulder - 0.06 * height))


def _without_neighbour(rgb: np.ndarray, mask: np.ndarray, *, above: bool, below: bool) -> np.ndarray:
    """Cut at the waist, if there is one: the row where the mean colours above and below differ most.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        mask: boolean ``[H, W]``.
        above: whether a neighbour may lie above, in the upper 45%.
        below: whether one may lie below, in the lower 45%.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) <= 10:
        return mask
    top, bottom = rows[0], rows[-1] + 1
    count = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    colour = np.concatenate([np.zeros((1, 3)), np.cumsum((to_lab(rgb) * mask).sum(axis=2, dtype=np.float64).T, axis=0)])
    window = max(4, int(0.14 * (bottom - top)))
    row = np.arange(top + window // 2, bottom - window // 2)
    share = (row - top) / (bottom - top)
    row = row[(below & (share > 0.55)) | (above & (share < 0.45))]
    spans = [(np.maximum(top, row - window), row - 1), (row + 1, np.minimum(bottom, row + window))]
    counts = [count[end] - count[begin] for begin, end in spans]
    enough = np.minimum(*counts) >= 8
    means = [
        (colour[end] - colour[begin])[enough] / n[enough, None] for (begin, end), n in zip(spans, counts, strict=True)
    ]
    step = np.sqrt((((means[0] - means[1]) * [0.7, 1, 1]) ** 2).sum(axis=1))
    if not (step > _WAIST_STEP).any():
        return mask
    waist, reach = row[enough][step.argmax()], int(_WAIST * (bottom - top))
    kept = mask.copy()
    if (waist - top) / (bottom - top) > 0.5:
        kept[waist - reach :] = False
    else:
        kept[: waist + reach] = False
    return kept
