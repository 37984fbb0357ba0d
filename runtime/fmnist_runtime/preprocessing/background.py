"""Background model: a smooth color surface over the image, fitted robustly to the image border.

Light falls off and walls have gradients, so each CIELAB channel is a quadratic polynomial of the position. The fit is
iteratively reweighted least squares with Cauchy weights, because the garment may touch the border.
"""

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Array, binomial_sum, percentile
from fmnist_runtime.preprocessing.parameters import PARAMETERS

__all__ = ["Background", "Geometry", "background_distance", "fit_background", "geometry_of", "sample_step"]

_P = PARAMETERS.background
_PENALTY = np.diag(_P.penalty)
_WEIGHTS = np.array(_P.channel_weights)
_POWER_OF_X = np.array([0, 1, 0, 2, 0, 1])
_POWER_OF_Y = np.array([0, 0, 1, 0, 2, 1])
"""Powers in the polynomials 1, x, y, x², y², xy."""


class Geometry:
    """Arrays that depend on the size of an image alone; each is computed when it is first used."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._y, self._x = (np.linspace(-1, 1, side) for side in shape)

    @cached_property
    def _ring_mask(self) -> Array:
        """True in the border pixels to which the background is fitted, boolean ``[H, W]``."""
        edge = max(_P.ring_min, round(_P.ring_share * max(self.shape)))
        ring = np.ones(self.shape, bool)
        ring[edge:-edge, edge:-edge] = False
        return ring

    @cached_property
    def ring(self) -> Array:
        """Flat indices of the border pixels, ``[N]``."""
        return np.flatnonzero(self._ring_mask)

    @cached_property
    def ring_basis(self) -> Array:
        """The polynomials 1, x, y, x², y², xy at the border pixels, ``[6, N]``; x and y run from -1 to 1."""
        rows, columns = np.divmod(self.ring, self.shape[1])
        x, y = self._x[columns], self._y[rows]
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])

    @cached_property
    def row_powers(self) -> Array:
        """1, y, y² of each row, ``[H, 3]``."""
        return np.stack([np.ones_like(self._y), self._y, self._y * self._y], axis=1)

    @cached_property
    def column_powers(self) -> Array:
        """1, x, x² of each column, ``[3, W]``."""
        return np.stack([np.ones_like(self._x), self._x, self._x * self._x])

    @cached_property
    def padded(self) -> Array:
        """Flat indices of the image with its border repeated once on each side: rows of ``W + 2``, and two more."""
        down, across = (np.arange(-1, side + 1).clip(0, side - 1) for side in self.shape)
        return np.append(down[:, None] * self.shape[1] + across, [0, 0])  # smoothing the last row reads two more

    @cached_property
    def position_prior(self) -> Array:
        """Preference for the center over the border, smoothed, rows of ``W + 2``, flat ``[H * (W + 2)]``."""
        p = PARAMETERS.color_model
        distance = np.maximum(np.abs(self._x), np.abs(self._y)[:, None])
        prior = p.position_center - p.position_falloff * distance**2 - p.position_ring * self._ring_mask
        return binomial_sum(prior.ravel()[self.padded], (self.shape[1] + 2, 1)) / 16

    @cached_property
    def row_centrality(self) -> Array:
        """Weight of each row, ``[H]``. The weight of a pixel is this times the weight of its column: 1 at the center."""
        return np.exp(-self._y * self._y)

    @cached_property
    def column_centrality(self) -> Array:
        """Sums of the column weights before each column, ``[W + 1]``."""
        return np.append(0, np.cumsum(np.exp(-self._x * self._x)))


@lru_cache(maxsize=32)  # a camera and most folders have few sizes; each takes up to 0.1 MB
def geometry_of(shape: tuple[int, int]) -> Geometry:
    """Returns the geometry of images of one ``(height, width)``, cached."""
    return Geometry(shape)


class Background(NamedTuple):
    """The fitted background of one image."""

    surface: Array
    """Coefficients of 1, x, y, x², y², xy for L, a, b, float64 ``[6, 3]``."""
    spread: float
    """Typical color difference of the border from the surface."""


def sample_step(shape: tuple[int, int]) -> int:
    """Returns the step in pixels between the rows and columns that are used to fit background and color histograms."""
    return 2 if max(shape) > _P.sampled_from else 1


def fit_background(lab: Array, geometry: Geometry) -> Background:
    """Fits the color surface to the border.

    Args:
        lab: CIELAB image, float32 ``[3, H, W]``.
        geometry: Geometry of ``(H, W)``.
    """
    basis = geometry.ring_basis
    both = np.concatenate([basis, lab.reshape(3, -1).take(geometry.ring, axis=1)])
    color, penalty = both[6:], _PENALTY * both.shape[1]
    weighted = basis
    for remaining in range(_P.rounds - 1, -1, -1):
        normal = weighted @ both.T
        surface = np.linalg.solve(normal[:, :6] + penalty, normal[:, 6:])
        residual = surface.T @ basis
        residual -= color
        residual *= residual
        squares = np.add.reduce(residual)
        distance = np.sqrt(squares)
        if remaining:
            scale = max(_P.min_scale, _P.median_to_deviation * percentile(distance, 50))
            weighted = basis / (1 + squares / (_P.cauchy_scales * scale) ** 2)
    return Background(surface, percentile(distance, _P.spread_percentile))


def background_distance(lab: Array, background: Background, geometry: Geometry) -> Array:
    """Returns the color difference of each pixel from the background at its position, float64 ``[H, W]``.

    Args:
        lab: CIELAB image, float32 ``[3, H, W]``.
        background: Result of ``fit_background``; may be fitted to a sample of the image.
        geometry: Geometry of ``(H, W)``.
    """
    coefficients = np.zeros((3, 3, 3))  # for each channel, powers of y by powers of x
    coefficients[:, _POWER_OF_Y, _POWER_OF_X] = background.surface.T
    difference = (geometry.row_powers @ coefficients) @ geometry.column_powers
    difference -= lab
    difference *= difference
    distance: Array = _WEIGHTS @ difference.reshape(3, -1)
    np.sqrt(distance, out=distance)
    return distance.reshape(lab.shape[1:])
