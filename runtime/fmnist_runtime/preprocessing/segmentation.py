"""Find the garment in a photo: which pixels are goods, which are ground.

The ground is what the border of the picture shows. Its colour is modelled in CIELAB as a smooth surface over the picture
(light falls off, walls have gradients), fitted robustly, because the goods may touch the border. Two cases follow:

- a *plain* ground (a shop picture): the ground is what is connected to the border without a visible step;
- any other (floors, beds, carpets): colour histograms of goods and ground, started from the distance to the surface and a
  preference for the centre, sharpen each other a few times, the way GrabCut does with Gaussian mixtures and a graph cut
  (Rother, Kolmogorov, Blake 2004), here with local averaging in place of the cut.

The colours are learnt from every second pixel of every second row; each pixel is judged by them. numpy only. What
depends on the picture's shape alone is computed once for each shape.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Parts, box_count, to_lab
from fmnist_runtime.preprocessing.background import Frame, distance_from, fit_ground, frame_of, sample_step
from fmnist_runtime.preprocessing.color_model import separate

__all__ = ["find_garment"]

_PLAIN_SPREAD = 1.5
"""Below this spread of the border about its surface, in CIELAB units, the ground is plain."""
_PLAIN_STEP = 4.0
"""What differs from a plain ground by more is goods: a little over the smallest difference that an eye sees."""
_PALE_STEP, _PALE_GROWTH = 2.0, 1.15
"""Where this lower step finds so many times as much, the goods are as pale as the ground, a white shirt on white; where it
does not, what it finds besides is the shadow under a shoe."""

_CONTRAST = 4.0
"""Goods are farther from a plain ground, on average, than so many times its own spread: specks of noise have 1.6 at most,
375 shop pictures 31 at least."""
_SMALLEST_SHARE = 0.02
"""Of the picture. Less than that is a speck."""


def find_garment(rgb: np.ndarray) -> tuple[np.ndarray, bool]:
    """Separate the goods from the ground.

    Args:
        rgb: uint8 ``[H, W, 3]``, at least 8 pixels either way, best about 128.

    Returns:
        A boolean mask ``[H, W]`` of the goods, all false where nothing stands out from the ground; and whether the ground
        is plain.
    """
    lab = to_lab(rgb)
    frame, step = frame_of(lab.shape[1:]), sample_step(lab.shape[1:])
    sample = lab[:, ::step, ::step]
    surface, spread = fit_ground(sample, frame_of(sample.shape[1:]))
    plain = spread < _PLAIN_SPREAD
    mask = _cut_out(distance_from(lab, surface, frame), spread) if plain else separate(lab, surface, spread, frame)
    mask = _main_parts(mask, frame)
    return (mask if np.count_nonzero(mask) / mask.size >= _SMALLEST_SHARE else np.zeros_like(mask)), plain


def _cut_out(distance: np.ndarray, spread: float) -> np.ndarray:
    """On a plain ground: everything but what is connected to the border, and holes that show the very ground; nothing where
    that is only the noise of the ground itself."""
    height, width = distance.shape
    far, pale = distance > _PLAIN_STEP, distance > _PALE_STEP
    if np.count_nonzero(pale) > _PALE_GROWTH * np.count_nonzero(far):
        far = pale
    free = Parts(box_count(far) <= 3)
    edge = (free.row == 0) | (free.row == height - 1) | (free.begin == 0) | (free.end == width)
    mask = ~free.mask(free.sizes(edge) > 0)
    if not distance[mask].sum() > _CONTRAST * spread * np.count_nonzero(mask):
        return np.zeros_like(mask)
    # The loop of a bag's handle shows the ground itself; the inside of a white shirt only comes close to it.
    holes = Parts(mask & (box_count(distance < 1.6) >= 7))
    size = holes.sizes()
    same = holes.count(distance < 1.1) / np.maximum(size, 1)
    return mask & ~holes.mask((size > 0.004 * np.count_nonzero(mask)) & (same > 0.8))


def _main_parts(mask: np.ndarray, frame: Frame) -> np.ndarray:
    """The largest part, and others at least a quarter of it (the second shoe); parts near the centre count more."""
    parts = Parts(mask)
    columns = frame.central_columns
    size = parts.sizes(frame.central_rows[parts.row] * (columns[parts.end] - columns[parts.begin]))
    return parts.large(size, 0.25)
