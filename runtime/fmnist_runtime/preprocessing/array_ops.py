"""Tools on arrays of pixels that finding a garment needs: colour space, sums over squares, connected parts. numpy only.

All of them are on the path from photo to answer, so they are written for speed: on a working picture of 128 pixels each
takes less than a tenth of a millisecond. What that takes: few passes, over contiguous memory, in the type of the data.
"""

import numpy as np

__all__ = ["Parts", "box_count", "box_sum", "luma", "percentile", "to_lab"]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB, uint8 ``[H, W, 3]``, to CIELAB (D65), float32 ``[3, H, W]``, where equal distances look about equally different.

    Whole numbers and one table, so that every machine and language finds the same; grey has exactly ``a = b = 0``.
    """
    flat, lab = rgb.reshape(-1, 3), np.empty((3, *rgb.shape[:2]), np.float32)
    for begin in range(0, len(flat), 4096):  # in pieces that stay in the cache
        linear = _LINEAR.take(flat[begin : begin + 4096])
        x, y, z = _CURVE.take((_XYZ @ linear.T).astype(np.intp))  # exact in float64, whatever order BLAS adds in
        lightness, a, b = lab.reshape(3, -1)[:, begin : begin + 4096]
        np.multiply(116, y, out=lightness)
        lightness -= 16
        np.subtract(x, y, out=a)
        a *= 500
        np.subtract(y, z, out=b)
        b *= 200
    return lab


_SRGB = np.arange(256) / 255
_LINEAR = np.rint(65535 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4))
# The rows X, Y, Z of the matrix, each over the white point's; each sums to 1.
_XYZ = np.array([[14217, 12328, 6223], [6966, 23436, 2366], [581, 3587, 28600]]) / 32768


def _curve(t: np.ndarray) -> np.ndarray:
    return np.rint(65536 * np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)) / 65536


_CURVE = np.empty(65536, np.float32)
for _begin in range(0, 65536, 4096):  # in pieces, because what a process has once taken for more memory it keeps
    _CURVE[_begin : _begin + 4096] = _curve(np.arange(_begin, _begin + 4096) / 65535)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Lightness as television has it (BT.601), in thousandths, whole numbers: uint8 ``[..., 3]`` to float32 ``[...]``."""
    return rgb.astype(np.float32) @ _LUMA


_LUMA = np.array([299, 587, 114], np.float32)


def percentile(values: np.ndarray, share: float) -> float:
    """What ``numpy.percentile`` gives for one ``share`` (0 to 100) of a flat array, to the bit.

    numpy's own takes longer over its arguments than over the numbers, and its median imports ``numpy.ma``, which alone is
    a twentieth of the start-up of a whole process.
    """
    position = share / 100 * (len(values) - 1)
    below = int(position)
    part = position - below
    parted = np.partition(values, below)  # for two places at once it takes ten times as long
    low = float(parted[below])
    high = float(parted[below + 1 :].min()) if below + 1 < len(values) else low
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def box_sum(values: np.ndarray, row: int) -> np.ndarray:
    """Sums over squares of 3×3 pixels, of a flat array that holds rows of ``row`` pixels.

    Returns:
        Flat and shorter by ``2 * (row + 1)``; the square of each place begins there. Where a square would reach over the
        end of its row, the sum means nothing.
    """
    for step in (row, 1):
        total = values[: -2 * step] + values[step:-step]
        total += values[2 * step :]
        values = total
    return values


def box_count(mask: np.ndarray) -> np.ndarray:
    """How many of the 3×3 pixels around each are true, of a boolean ``[H, W]``; the border is repeated outwards. uint8."""
    height, width = mask.shape
    padded = np.empty((height + 3, width + 2), np.uint8)  # one row more keeps all sums in the array
    inside = padded[1 : height + 1]
    inside[:, 1:-1] = mask
    inside[:, 0], inside[:, -1] = mask[:, 0], mask[:, -1]
    padded[0], padded[height + 1 :] = inside[0], inside[-1]
    return box_sum(padded.reshape(-1)[: (height + 2) * (width + 2) + 2], width + 2).reshape(height, -1)[:, :width]


class Parts:
    """The 4-connected parts of a boolean mask ``[H, W]``.

    Runs along the rows are found all at once; only where runs of neighbouring rows touch, a union-find (Rosenfeld and
    Pfaltz 1966) joins them one by one. A part is named by the number of its last run.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.shape = mask.shape
        flat = self._with_gaps(mask)
        stride = mask.shape[1] + 1
        self.edges = np.flatnonzero(flat[1:] != flat[:-1])
        """Where runs begin and end (one behind the last), in turns, among rows with a gap behind each."""
        self.row, self.begin = np.divmod(self.edges[::2], stride)
        self.end = self.edges[1::2] - self.row * stride
        """Row, first column, and one behind the last column of each run."""
        both = flat[:-stride] & flat[stride:]
        self.part = self._join(np.flatnonzero(both[1:] > both[:-1]), stride)
        """The part of each run."""

    def sizes(self, weight: np.ndarray | None = None) -> np.ndarray:
        """Pixels of each part, or the sums of its runs' ``weight``; 0 where no part has that number."""
        return np.bincount(self.part, self.end - self.begin if weight is None else weight)

    def count(self, mask: np.ndarray) -> np.ndarray:
        """How many pixels of each part are true in another mask."""
        flat = self._with_gaps(mask)[1:].view(np.uint8)
        return self.sizes(np.add.reduceat(flat, self.edges, dtype=np.intp)[::2])

    def mask(self, chosen: np.ndarray) -> np.ndarray:
        """The boolean ``[H, W]`` of those parts whose place in ``chosen`` is true."""
        height, width = self.shape
        lengths = np.diff(self.edges, prepend=0, append=height * (width + 1))
        values = np.zeros(len(lengths), bool)
        values[1::2] = chosen[self.part]
        return np.repeat(values, lengths).reshape(height, -1)[:, :width]

    def large(self, size: np.ndarray, share: float) -> np.ndarray:
        """The boolean ``[H, W]`` of those parts whose ``size`` is over this share of the largest."""
        return self.mask(size > share * size.max(initial=0))

    def _with_gaps(self, mask: np.ndarray) -> np.ndarray:
        """The mask flat, with a gap before it and behind each row: no run goes on in the next row."""
        height, width = self.shape
        flat = np.zeros(1 + height * (width + 1), bool)
        flat[1:].reshape(height, -1)[:, :width] = mask
        return flat

    def _join(self, touching: np.ndarray, stride: int) -> np.ndarray:
        begins = self.edges[::2]
        root = list(range(len(begins)))
        above, below = (np.searchsorted(begins, touching + step, "right") - 1 for step in (0, stride))
        for upper, lower in zip(above.tolist(), below.tolist(), strict=True):
            while root[upper] != upper:
                upper = root[upper]
            while root[lower] != lower:
                lower = root[lower]
            root[min(upper, lower)] = max(upper, lower)
        for run in range(len(root) - 1, -1, -1):  # a root stands behind its runs, so each is final when it is asked
            root[run] = root[root[run]]
        return np.array(root, np.intp)
