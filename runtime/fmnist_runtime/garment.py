"""Find the garment in a photo: which pixels are goods, which are ground.

The ground is what the border of the picture shows. Its colour is modelled in CIELAB as a smooth surface over the picture
(light falls off, walls have gradients), fitted robustly, because the goods may touch the border. Two cases follow:

- a *plain* ground (a shop picture): the ground is what is connected to the border without a visible step;
- any other (floors, beds, carpets): colour histograms of goods and ground, started from the distance to the surface and a
  preference for the centre, sharpen each other a few times, the way GrabCut does with Gaussian mixtures and a graph cut
  (Rother, Kolmogorov, Blake 2004), here with local averaging in place of the cut.

numpy only. What depends on the picture's shape alone is computed once for each shape.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fmnist_runtime.pixels import box_blur, components, percentile, to_lab

__all__ = ["find_garment"]

_PLAIN_SPREAD = 1.5
"""Below this spread of the border about its surface, in CIELAB units, the ground is plain."""
_PLAIN_STEP = 4.0
"""What differs from a plain ground by more is goods: a little over the smallest difference that an eye sees."""
_BINS = (16, 24, 24)
"""Histogram bins of L, a, b."""
_ROUNDS = 6


def find_garment(rgb: np.ndarray) -> tuple[np.ndarray, bool]:
    """Separate the goods from the ground.

    Args:
        rgb: uint8 ``[H, W, 3]``, at least 8 pixels either way, best about 128.

    Returns:
        A boolean mask ``[H, W]`` of the goods, all true where none could be told from the ground; and whether the ground
        is plain.
    """
    lab = to_lab(rgb)
    distance, spread = _distance_from_ground(lab)
    plain = spread < _PLAIN_SPREAD
    mask = _cut_out(distance) if plain else _separate(lab, distance, spread)
    mask = _main_parts(mask)
    return (mask if mask.mean() >= 0.02 else np.ones_like(mask)), plain


@dataclass(frozen=True)
class _Frame:
    """What depends on the size of the picture alone."""

    ring: np.ndarray
    """Boolean ``[H, W]``: the border, 4% of the longer side wide."""
    ring_basis: np.ndarray
    """The polynomials of a smooth surface, 1, x, y, x², y², xy, at the ring's pixels, ``[N, 6]``."""
    rows: np.ndarray
    """1, y, y² of each row, ``[H, 3]``; and ``columns``: 1, x, x² of each column, ``[3, W]``."""
    columns: np.ndarray
    place: np.ndarray
    """Preference for the centre over the border, ``[H, W]``."""
    centrality: np.ndarray
    """How much a pixel counts, ``[H, W]``: 1 at the centre, less towards the corners."""


@lru_cache(maxsize=4)  # a camera and most folders have few sizes; each takes half a megabyte
def _frame(shape: tuple[int, int]) -> _Frame:
    width = max(2, round(0.04 * max(shape)))
    ring = np.ones(shape, bool)
    ring[width:-width, width:-width] = False
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])
    place = 1.2 - 2.4 * np.maximum(np.abs(x), np.abs(y)) ** 2 - 1.5 * ring
    rows, columns = np.hstack([np.ones_like(y), y, y * y]), np.stack([np.ones_like(x), x, x * x])
    down, across = np.nonzero(ring)
    y, x = y[down, 0], x[across]
    ring_basis = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    return _Frame(ring, ring_basis, rows, columns, place, np.exp(-rows[:, 2:] - columns[2]))


def _distance_from_ground(lab: np.ndarray) -> tuple[np.ndarray, float]:
    """How far each pixel is from the colour that the ground would have there; and how far the border itself is."""
    frame = _frame(lab.shape[:2])
    seen, colour = frame.ring_basis, lab[frame.ring].astype(np.float64)
    # Slopes and curves cost something, or one object at the border bends the whole surface.
    penalty = np.diag([0, 0.02, 0.02, 0.1, 0.1, 0.1]) * len(seen)
    weight = np.ones(len(seen))
    for _ in range(6):  # iteratively reweighted least squares with Cauchy weights: outliers lose their say
        weighted = (seen * weight[:, None]).T
        surface = np.linalg.solve(weighted @ seen + penalty, weighted @ colour)
        residual = np.sqrt((colour - seen @ surface) ** 2 @ np.ones(3))
        scale = max(1.5, 1.48 * percentile(residual, 50))
        weight = 1 / (1 + (residual / (1.5 * scale)) ** 2)
    distance = np.zeros(frame.ring.shape)
    # A shadow changes lightness more than colour, so lightness counts less.
    for channel, importance in enumerate((0.6, 1.4, 1.4)):
        one, x, y, xx, yy, xy = surface[:, channel]
        ground = frame.rows @ np.array([[one, x, xx], [y, xy, 0], [yy, 0, 0]]) @ frame.columns
        distance += importance * (lab[..., channel] - ground) ** 2
    return np.sqrt(distance), percentile(residual, 60)


def _cut_out(distance: np.ndarray) -> np.ndarray:
    """On a plain ground: everything but what is connected to the border, and holes that show the very ground."""
    free = box_blur((distance > _PLAIN_STEP).astype(np.float32), 1) <= 0.34
    label = components(free)
    outside = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    mask = ~np.isin(label, outside[outside > 0])
    # The loop of a bag's handle shows the ground itself; the inside of a white shirt only comes close to it.
    hole = components(mask & (box_blur((distance < 1.6).astype(np.float32), 1) > 0.75))
    size = np.bincount(hole.ravel())
    size[0] = 0
    same = np.bincount(hole.ravel(), (distance < 1.1).ravel()) / np.maximum(size, 1)
    return mask & ~np.isin(hole, np.flatnonzero((size > 0.004 * mask.sum()) & (same > 0.8)))


def _separate(lab: np.ndarray, distance: np.ndarray, spread: float) -> np.ndarray:
    """On any other ground: histograms of both, sharpened in turn."""
    threshold = float(np.clip(2.2 * max(1.5, spread), 7, 26))
    evidence = np.clip((distance - threshold) / (0.35 * threshold), -4, 4)
    place = _frame(distance.shape).place
    goods = _sigmoid(box_blur(evidence + 0.7 * place, 1))
    prior = 0.5 * evidence + 0.8 * place
    code, shape = _histogram_codes(lab)
    count = np.bincount(code, minlength=np.prod(shape))
    for _ in range(_ROUNDS):
        colour = np.clip(_log_ratio(code, goods.ravel(), count, shape), -4, 4)[code].reshape(goods.shape)
        goods = _sigmoid(1.5 * box_blur(0.9 * colour + prior, 2))
    return goods > 0.5


def _histogram_codes(lab: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Each pixel's histogram bin ``[H * W]``, in the smallest box that holds all bins in use and their neighbours."""
    code, shape = 0, []
    for values, bins, low, span in zip(lab.reshape(-1, 3).T, _BINS, (0, -60, -60), (100, 120, 120), strict=True):
        index = ((values.astype(np.float64) - low) / span * bins).astype(np.int64).clip(0, bins - 1)
        first = max(int(index.min()) - 1, 0)
        shape.append(min(int(index.max()) + 2, bins) - first)
        code = code * shape[-1] + (index - first)
    return code, tuple(shape)


def _log_ratio(code: np.ndarray, goods: np.ndarray, count: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Logarithm of how much likelier each bin's colour is among the goods than in the ground."""
    weight = np.bincount(code, goods, len(count))
    both = _smooth(np.stack([weight, count - weight]).reshape(2, *shape)).reshape(2, -1)
    share = both / (both.sum(axis=1, keepdims=True) + 1e-9) + 2e-5
    return np.log(share[0] / share[1])


def _smooth(histograms: np.ndarray) -> np.ndarray:
    """Spread each bin over its neighbours, with weights 1, 2, 1 along each axis but the first."""
    for axis in range(1, histograms.ndim):
        spread = 0.5 * histograms
        into, quarter = spread.swapaxes(0, axis), (0.25 * histograms).swapaxes(0, axis)
        into[1:] += quarter[:-1]
        into[:-1] += quarter[1:]
        histograms = spread
    return histograms


def _main_parts(mask: np.ndarray) -> np.ndarray:
    """The largest part, and others at least a quarter of it (the second shoe); parts near the centre count more."""
    label = components(mask)
    size = np.bincount(label.ravel(), (_frame(mask.shape).centrality * mask).ravel())
    return (size > 0.25 * size.max())[label] & mask


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
