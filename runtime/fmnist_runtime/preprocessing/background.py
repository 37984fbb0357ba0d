"""The ground of a photo: a smooth surface of colour, fitted to the border, and how far each pixel is from it.

What depends on the picture's shape alone (``Frame``) is computed once for each shape.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fmnist_runtime.preprocessing.array_ops import box_sum, percentile

__all__ = ["Frame", "distance_from", "fit_ground", "frame_of", "lattice_mean", "sample_step"]

_SAMPLED_FROM = 64
"""Pictures whose longer side is larger are sampled."""

_PENALTY = np.diag([0, 0.02, 0.02, 0.1, 0.1, 0.1])
"""Slopes and curves cost something, or one object at the border bends the whole surface."""


class Frame(NamedTuple):
    """What depends on the size of the picture alone."""

    ring: np.ndarray
    """Flat indices of the border, 4% of the longer side wide, ``[N]``."""
    ring_basis: np.ndarray
    """The polynomials of a smooth surface, 1, x, y, x², y², xy, at the ring's pixels, ``[6, N]``."""
    rows: np.ndarray
    """1, y, y² of each row, ``[H, 3]``; and ``columns``: 1, x, x² of each column, ``[3, W]``."""
    columns: np.ndarray
    lattice: np.ndarray
    """Flat indices of the picture with one more pixel on each side, which repeats its border: rows of ``W + 2``."""
    near: np.ndarray
    """Preference for the centre over the border, meant over 3×3 pixels, flat ``[H * (W + 2)]``."""
    central_rows: np.ndarray
    """How much a pixel counts, 1 at the centre, less towards the corners, is the product of this, ``[H]``,"""
    central_columns: np.ndarray
    """and of a weight of its column; here the sums of those before each column, ``[W + 1]``."""


@lru_cache(maxsize=8)  # a camera and most folders have few sizes, with a sample of each; each takes up to 0.4 MB
def frame_of(shape: tuple[int, int]) -> Frame:
    """The frame of pictures of one ``(height, width)``, remembered."""
    height, width = shape
    edge = max(2, round(0.04 * max(shape)))
    ring = np.ones(shape, bool)
    ring[edge:-edge, edge:-edge] = False
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    place = 1.2 - 2.4 * np.maximum(np.abs(x), np.abs(y)) ** 2 - 1.5 * ring
    rows, columns = np.hstack([np.ones_like(y), y, y * y]), np.stack([np.ones_like(x), x, x * x])
    down, across = (np.arange(-1, side + 1).clip(0, side - 1) for side in shape)
    lattice = np.append(down[:, None] * width + across, [0] * 2)  # two more, so that the last row's sums are there
    near = lattice_mean(place.ravel()[lattice], width + 2)
    central_columns = np.append(0, np.cumsum(np.exp(-columns[2])))
    down, across = np.nonzero(ring)
    y, x = y[down, 0], x[across]
    basis = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])
    return Frame(np.flatnonzero(ring), basis, rows, columns, lattice, near, np.exp(-rows[:, 2]), central_columns)


def sample_step(shape: tuple[int, int]) -> int:
    """Every how many-th pixel of every how many-th row is enough to learn the colours of ground and goods from."""
    return 2 if max(shape) > _SAMPLED_FROM else 1


def lattice_mean(values: np.ndarray, row: int) -> np.ndarray:
    """Means over squares of 3×3 pixels, from a lattice to flat rows of the same length, ``row``."""
    return box_sum(values, row) / 9


def fit_ground(lab: np.ndarray, frame: Frame) -> tuple[np.ndarray, float]:
    """The colour that the ground would have at each place, as coefficients ``[6, 3]`` of the ring's polynomials by
    channels; and how far the border itself is from it."""
    basis, colour = frame.ring_basis, lab.reshape(3, -1).take(frame.ring, axis=1).astype(np.float64)
    both = np.concatenate([basis, colour]).T
    penalty = _PENALTY * len(both)
    weighted = basis
    for _ in range(5):  # iteratively reweighted least squares with Cauchy weights: outliers lose their say
        normal = weighted @ both
        surface = np.linalg.solve(normal[:, :6] + penalty, normal[:, 6:])
        residual = surface.T @ basis
        residual -= colour
        residual *= residual
        squares = residual[0] + residual[1] + residual[2]
        away = np.sqrt(squares)
        scale = max(1.5, 1.48 * percentile(away, 50))
        weighted = basis * (1 / (1 + squares / (1.5 * scale) ** 2))
    return surface, percentile(away, 60)


def distance_from(lab: np.ndarray, surface: np.ndarray, frame: Frame, precision: type = np.float64) -> np.ndarray:
    """How far each pixel is from the colour that the ground would have there, ``[H, W]``."""
    # One, x, y, x², y², xy to a matrix of powers of y by powers of x, for each channel.
    powers = np.append(surface, [[0, 0, 0]], axis=0)[[[0, 1, 3], [2, 5, 6], [4, 6, 6]]].transpose(2, 0, 1)
    ground = (frame.rows @ powers).astype(precision) @ frame.columns.astype(precision)
    ground -= lab
    ground *= ground
    # A shadow changes lightness more than colour, so lightness counts less.
    distance = np.array([0.6, 1.4, 1.4], precision) @ ground.reshape(3, -1)
    return np.sqrt(distance, out=distance).reshape(lab.shape[1:])
