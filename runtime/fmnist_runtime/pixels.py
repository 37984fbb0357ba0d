"""Tools on arrays of pixels that finding a garment needs: colour space, local means, connected parts. numpy only.

All of them are on the path from photo to answer, so they are written for speed: on a working picture of 128 pixels each
takes a fraction of a millisecond.
"""

import numpy as np

__all__ = ["box_blur", "components", "luma", "percentile", "to_lab"]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB, uint8 ``[..., 3]``, to CIELAB (D65), float32, where equal distances look about equally different.

    Whole numbers and one table, so that every machine and language finds the same; grey has exactly ``a = b = 0``.
    """
    channels = rgb.reshape(-1, 3).T
    x, y, z = (_CURVE[sum(table[c] for table, c in zip(row, channels, strict=True)) >> 15] for row in _XYZ)
    lab = np.empty((len(x), 3), np.float32)
    lab[:, 0] = 116 * y - 16
    lab[:, 1] = 500 * (x - y)
    lab[:, 2] = 200 * (y - z)
    return lab.reshape(rgb.shape)


_SRGB = np.arange(256) / 255
_LINEAR = np.rint(65535 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)).astype(np.int32)
# The rows X, Y, Z of the matrix, each over the white point's, in 1/32768; each sums to 32768.
_XYZ = np.array([[14217, 12328, 6223], [6966, 23436, 2366], [581, 3587, 28600]], np.int32)[..., None] * _LINEAR


def _curve(t: np.ndarray) -> np.ndarray:
    return (np.rint(65536 * np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)) / 65536).astype(np.float32)


# In pieces, because what a process has once taken for a whole table in float64 it keeps.
_CURVE = np.concatenate([_curve(np.arange(i, i + 4096) / 65535) for i in range(0, 65536, 4096)])


def luma(rgb: np.ndarray) -> np.ndarray:
    """Lightness as television has it (BT.601), in thousandths: uint8 ``[..., 3]`` to int32 ``[...]``."""
    red, green, blue = np.moveaxis(rgb, -1, 0).astype(np.int32)
    return 299 * red + 587 * green + 114 * blue


def components(mask: np.ndarray) -> np.ndarray:
    """Label the 4-connected parts of a boolean mask ``[H, W]``: an integer ``[H, W]``, 0 where the mask is false.

    A part's label is one more than the flat index of its last pixel. Runs along the rows are found all at once; only
    where runs of neighbouring rows touch, a union-find (Rosenfeld and Pfaltz 1966) joins them one by one.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 1), bool)  # a gap behind each row keeps runs from going on in the next
    padded[:, :-1] = mask
    flat = padded.ravel()
    begins, ends = _runs(flat)
    touching = _runs(flat[: -width - 1] & flat[width + 1 :])[0]
    root = list(range(len(begins)))
    above, below = (np.searchsorted(begins, touching + step, "right") - 1 for step in (0, width + 1))
    for upper, lower in zip(above.tolist(), below.tolist(), strict=True):
        while root[upper] != upper:
            upper = root[upper]
        while root[lower] != lower:
            lower = root[lower]
        root[min(upper, lower)] = max(upper, lower)
    for run in range(len(root) - 1, -1, -1):  # a root stands behind its runs, so each is final when it is asked
        root[run] = root[root[run]]
    last = ends - ends // (width + 1)  # one more than the flat index of the run's last pixel, without the gaps
    label = np.zeros(mask.shape, np.int64)
    label[mask] = np.repeat(last[root], ends - begins)
    return label


def percentile(values: np.ndarray, share: float) -> float:
    """What ``numpy.percentile`` gives for one ``share`` (0 to 100) of a flat array, to the bit.

    numpy's own takes longer over its arguments than over the numbers, and its median imports ``numpy.ma``, which alone is
    a twentieth of the start-up of a whole process.
    """
    position = share / 100 * (len(values) - 1)
    below = int(position)
    above = min(below + 1, len(values) - 1)
    parted = np.partition(values, (below, above))
    low, high, part = float(parted[below]), float(parted[above]), position - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def _runs(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the runs of true begin and end (one behind the last) in a flat boolean array."""
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    return edges[::2], edges[1::2]


def box_blur(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean over a square of ``2 * radius + 1`` pixels of a float ``[H, W]``; the border is repeated outwards."""
    height, width = values.shape
    side = 2 * radius + 1
    padded = np.empty((height + side - 1, width), values.dtype)
    padded[radius : radius + height] = values
    padded[:radius], padded[radius + height :] = values[0], values[-1]
    down = sum((padded[i : i + height] for i in range(1, side)), padded[:height])
    padded = np.empty((height, width + side - 1), values.dtype)
    padded[:, radius : radius + width] = down
    padded[:, :radius], padded[:, radius + width :] = down[:, :1], down[:, -1:]
    return sum((padded[:, i : i + width] for i in range(1, side)), padded[:, :width]) / side**2
