"""Removal of the person who wears the garment: head, skin, and the clothes above or below it.

Shop pictures show shirts worn by a person, from head to hips, and trousers with the end of a shirt above them.
Fashion-MNIST shows the garment alone. On a plain background a few rules find the rest:

- a head is a narrow part with skin above a wide body;
- arms and hands are skin;
- a waist is the row where the mean colors above and below differ most.

Where the rules find nothing, or would remove most of the figure, the mask stays as it is. Skin is a box in Cb and Cr (Chai
and Ngan 1999, "Face segmentation using skin-color map in videophone applications"). It holds for most complexions, because
they differ in lightness more than in hue.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Array, Components, luma, neighbor_count, percentile, to_lab
from fmnist_runtime.preprocessing.parameters import PARAMETERS

__all__ = ["remove_person"]

_P = PARAMETERS.person
_CB, _CR = 564, 713
"""Factors in thousandths (BT.601): Cb - 128 is 0.564 times blue less luma, Cr - 128 is 0.713 times red less luma."""


def remove_person(rgb: Array, mask: Array) -> Array:
    """Returns the part of ``mask`` that is the garment itself.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        mask: boolean ``[H, W]``: garment and person.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    top, bottom = rows[0], rows[-1] + 1
    if bottom - top <= _P.min_aspect * (columns[-1] + 1 - columns[0]):
        return mask  # wider than a standing person
    cut_above, cut_below = top <= _P.cut_margin, bottom >= mask.shape[0] - _P.cut_margin
    skin = _skin_mask(rgb, mask, top, bottom)
    head = _head_row(mask, skin, top, bottom)
    garment = mask.copy()
    if head is not None:
        garment[:head] = False
        garment &= ~skin
    elif (cut_above or cut_below) and _P.skin_min_share < skin.sum() / mask.sum() < _P.skin_max_share:
        garment &= ~skin
    if head is not None or cut_above or cut_below:
        garment = _cut_at_waist(rgb, garment, above=cut_above and head is None, below=cut_below or head is not None)
    components = Components(garment)
    garment = components.large(components.sizes(), _P.crumb_share)
    return garment if garment.sum() >= _P.min_garment_share * mask.sum() else mask


def _skin_mask(rgb: Array, mask: Array, top: int, bottom: int) -> Array:
    """Returns the pixels of the figure that are skin, boolean ``[H, W]``; ``top`` and ``bottom`` are the figure's rows."""
    lightness = luma(rgb)
    blue, red = (1000 * rgb[..., channel].astype(np.float32) - lightness for channel in (2, 0))
    skin = (lightness > 1e3 * _P.min_luma) & mask
    for chroma, unit, (low, high) in ((blue, 1e6 / _CB, _P.cb_range), (red, 1e6 / _CR, _P.cr_range)):
        skin &= (chroma > low * unit) & (chroma < high * unit)
    skin = (neighbor_count(skin) >= _P.skin_neighbors) & mask
    upper = np.s_[top : top + (bottom - top) // _P.face_quarter]
    face = skin[upper].copy()
    if np.count_nonzero(skin) > _P.bare_share * np.count_nonzero(mask) and face.any():
        for chroma, unit in ((blue, 1e6 / _CB), (red, 1e6 / _CR)):
            chroma -= percentile(chroma[upper][face], 50)
            skin &= np.abs(chroma) < _P.face_tolerance * unit
    return skin


def _head_row(mask: Array, skin: Array, top: int, bottom: int) -> int | None:
    """Returns the row where the head ends and the garment begins, or None where there is no head."""
    height = bottom - top
    width = mask.sum(axis=1)
    start = top + height // _P.upper_part
    below = mask[start:bottom]
    axis = percentile(np.nonzero(below)[1], 50) if below.any() else mask.shape[1] / 2
    body = percentile(width[start:bottom], _P.body_percentile)
    components = Components(skin)
    size = components.sizes()
    for part in np.argsort(size, kind="stable")[::-1][: _P.max_faces]:
        if size[part] < _P.face_min_share * np.count_nonzero(mask):
            return None
        y, x = np.nonzero(components.mask(np.arange(len(size)) == part))
        left, right = (percentile(x, share) for share in _P.face_columns)
        first, last = (int(percentile(y, share)) for share in _P.face_rows)
        high = percentile(y, 50) < top + _P.face_max_row * height
        central = abs(percentile(x, 50) - axis) < _P.face_max_offset * body
        small = right - left < _P.face_max_width * body
        narrow = percentile(width[first : last + 1], 50) < _P.head_max_width * body
        if high and central and small and narrow:
            return _shoulder_row(width, y, top, bottom)
    return None


def _shoulder_row(width: Array, face_rows: Array, top: int, bottom: int) -> int:
    """Returns a row a little above the first one below the face that is nearly as wide as the body."""
    height = bottom - top
    body = percentile(width[top + height // _P.upper_part : bottom], _P.shoulder_percentile)
    rows = np.arange(top, bottom)
    wide = rows[(width[top:bottom] > _P.shoulder_width * body) & (rows > percentile(face_rows, 50))]
    shoulder = wide[0] if len(wide) else int(percentile(face_rows, _P.chin_percentile))
    shoulder = min(shoulder, top + int(_P.shoulder_max_row * height))
    return int(max(percentile(face_rows, _P.neck_percentile), shoulder - _P.collar_rise * height))


def _cut_at_waist(rgb: Array, mask: Array, *, above: bool, below: bool) -> Array:
    """Cuts at the waist, if there is one: the row where the mean colors above and below differ most.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        mask: boolean ``[H, W]``.
        above: whether a neighbor may lie above, in the upper 45%.
        below: whether one may lie below, in the lower 45%.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) <= _P.waist_min_rows:
        return mask
    top, bottom = rows[0], rows[-1] + 1
    count = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    color = _sums_of_rows(rgb, mask, rows, count[rows]).cumsum(axis=0)
    window = max(_P.waist_window_min, int(_P.waist_window * (bottom - top)))
    row = np.arange(top + window // 2, bottom - window // 2)
    share = (row - top) / (bottom - top)
    row = row[(below & (share > _P.waist_rows[1])) | (above & (share < _P.waist_rows[0]))]
    spans = [(np.maximum(top, row - window), row - 1), (row + 1, np.minimum(bottom, row + window))]
    counts = [count[end] - count[begin] for begin, end in spans]
    enough = np.minimum(*counts) >= _P.waist_min_pixels
    means = [
        (color[end] - color[begin])[enough] / n[enough, None] for (begin, end), n in zip(spans, counts, strict=True)
    ]
    step = np.sqrt((((means[0] - means[1]) * _P.waist_weights) ** 2).sum(axis=1))
    if not (step > _P.waist_step).any():
        return mask
    waist, reach = row[enough][step.argmax()], int(_P.waist_reach * (bottom - top))
    kept = mask.copy()
    if (waist - top) / (bottom - top) > 0.5:
        kept[waist - reach :] = False
    else:
        kept[: waist + reach] = False
    return kept


def _sums_of_rows(rgb: Array, mask: Array, rows: Array, begins: Array) -> Array:
    """Returns the sums of L, a, b over the pixels of a mask in each row, exact in float64, after a row of zeros: ``[H + 1, 3]``.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        mask: boolean ``[H, W]``.
        rows: the rows that have pixels of the mask.
        begins: number of such pixels before each of these rows.
    """
    lab = to_lab(rgb.reshape(1, -1, 3).take(np.flatnonzero(mask), axis=1))
    sums = np.zeros((len(mask) + 1, 3))
    sums[rows + 1] = np.add.reduceat(lab[:, 0], begins, axis=1, dtype=np.float64).T
    return sums
