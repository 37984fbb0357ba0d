"""Removal of the person from the foreground: the head, skin, and garments above or below the one in question.

Shop photos show shirts on a person, from head to hips, and trousers with the lower end of a shirt. Fashion-MNIST shows the
garment alone. On a plain background, three rules find the other parts of the person:

- a head is a narrow part with skin above a wide body;
- arms and hands have the color of skin;
- a waist is the row where the mean colors above and below differ most.

If the rules find nothing, or would remove most of the foreground, the mask stays unchanged. The color of skin is a range of
Cb and Cr (Chai and Ngan 1999, "Face segmentation using skin-color map in videophone applications"). The range fits most
complexions, because they differ in lightness more than in hue.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Array, Components, luma, neighbor_count, percentile, to_lab
from fmnist_runtime.preprocessing.parameters import PARAMETERS

__all__ = ["remove_person"]

_P = PARAMETERS.person
_CB, _CR = 564, 713
"""Factors in thousandths (BT.601): Cb - 128 is 0.564 (blue - luma), and Cr - 128 is 0.713 (red - luma)."""


def remove_person(rgb: Array, mask: Array) -> Array:
    """Removes the person from a mask.

    Args:
        rgb: Image, uint8 ``[H, W, 3]``.
        mask: Foreground, boolean ``[H, W]``: garment and person.

    Returns:
        Garment, boolean ``[H, W]``; ``mask`` itself if no person is found.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    top, bottom = rows[0], rows[-1] + 1
    if bottom - top <= _P.min_aspect * (columns[-1] + 1 - columns[0]):
        return mask  # too wide for a standing person
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
    garment = components.large(components.sizes(), _P.part_share)
    return garment if garment.sum() >= _P.min_garment_share * mask.sum() else mask


def _skin_mask(rgb: Array, mask: Array, top: int, bottom: int) -> Array:
    """Finds the pixels with the color of skin.

    Args:
        rgb: Image, uint8 ``[H, W, 3]``.
        mask: Foreground, boolean ``[H, W]``.
        top: First row of the foreground.
        bottom: Row after its last one.

    Returns:
        Boolean ``[H, W]``.
    """
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
    """Returns the row where the head ends and the garment begins; None if there is no head.

    Args:
        mask: Foreground, boolean ``[H, W]``.
        skin: Result of ``_skin_mask``.
        top: First row of the foreground.
        bottom: Row after its last one.
    """
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
    """Returns the upper end of the garment: a little above the shoulder, the first row below the face as wide as the body.

    Args:
        width: Foreground pixels of each row, ``[H]``.
        face_rows: Row of each pixel of the face.
        top: First row of the foreground.
        bottom: Row after its last one.
    """
    height = bottom - top
    body = percentile(width[top + height // _P.upper_part : bottom], _P.shoulder_percentile)
    rows = np.arange(top, bottom)
    wide = rows[(width[top:bottom] > _P.shoulder_width * body) & (rows > percentile(face_rows, 50))]
    shoulder = wide[0] if len(wide) else int(percentile(face_rows, _P.chin_percentile))
    shoulder = min(shoulder, top + int(_P.shoulder_max_row * height))
    return int(max(percentile(face_rows, _P.neck_percentile), shoulder - _P.collar_rise * height))


def _cut_at_waist(rgb: Array, mask: Array, *, above: bool, below: bool) -> Array:
    """Removes the smaller of two garments that meet at a waist: the row where the mean colors above and below differ most.

    Args:
        rgb: Image, uint8 ``[H, W, 3]``.
        mask: Foreground without head and skin, boolean ``[H, W]``.
        above: Whether another garment may be above, in the upper 45% of the rows.
        below: Whether another garment may be below, in the lower 45% of the rows.

    Returns:
        Boolean ``[H, W]``; ``mask`` itself if there is no waist.
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
    """Sums L, a and b over the mask's pixels in each row.

    Args:
        rgb: Image, uint8 ``[H, W, 3]``.
        mask: Boolean ``[H, W]``.
        rows: Rows with pixels of the mask.
        begins: Number of the mask's pixels before each of these rows.

    Returns:
        float64 ``[H + 1, 3]``, exact: a row of zeros, then the sums of each row.
    """
    lab = to_lab(rgb.reshape(1, -1, 3).take(np.flatnonzero(mask), axis=1))
    sums = np.zeros((len(mask) + 1, 3))
    sums[rows + 1] = np.add.reduceat(lab[:, 0], begins, axis=1, dtype=np.float64).T
    return sums
