"""Garment segmentation: which pixels of a photo are foreground.

::

    RGB ─► every second pixel ─► CIELAB (to_lab) ─► surface through the border's colors (fit_background)
                                                                       │
                  ┌─ spread < max_spread: a plain background ──────────┴─── any other ────┐
                  ▼                                                                       ▼
    CIELAB of all pixels                                        difference from the surface, sampled pixels
                  │                                                                       │
    difference from the surface (background_distance)           color histograms that refine each other,
                  │                                             half log-odds of each pixel (foreground_log_odds)
    threshold; background is what is connected                                            │
    to the border, or a hole (_threshold)                       main components where the odds are positive
                  │                                             (_classify), doubled to all pixels
    main components (_main_components)                          (positive_at_double)
                  │                                                                       │
                  └───────────► mask, empty below min_share of the image ◄────────────────┘

Sampling costs no accuracy, because the network's input has only 28×28 pixels.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Array, Components, neighbor_count, positive_at_double, to_lab
from fmnist_runtime.preprocessing.background import (
    Geometry,
    background_distance,
    fit_background,
    geometry_of,
    sample_step,
)
from fmnist_runtime.preprocessing.color_model import foreground_log_odds
from fmnist_runtime.preprocessing.parameters import PARAMETERS

__all__ = ["segment"]

_P = PARAMETERS.plain
_MIN_CLARITY = PARAMETERS.color_model.min_clarity


def segment(rgb: Array) -> tuple[Array, bool]:
    """Separates the foreground from the background.

    Args:
        rgb: Image, uint8 ``[H, W, 3]``, at least 8 pixels a side; about 128 is best.

    Returns:
        The foreground, boolean ``[H, W]``, all false if nothing differs from the background; and whether the background is
        plain.
    """
    step = sample_step(rgb.shape[:2])
    sample = to_lab(rgb[::step, ::step])
    geometry = geometry_of(sample.shape[1:])
    background = fit_background(sample, geometry)
    plain = background.spread < _P.max_spread
    if plain:
        lab, geometry = (sample, geometry) if step == 1 else (to_lab(rgb), geometry_of(rgb.shape[:2]))
        mask = _threshold(background_distance(lab, background, geometry), background.spread)
        mask = _main_components(mask, geometry)
    else:
        distance = background_distance(sample, background, geometry)
        log_odds = foreground_log_odds(sample, distance, background.spread, geometry)
        mask = _classify(log_odds, geometry)
        if step == 2:
            log_odds[(log_odds > 0) & ~mask] = 0  # components that were dropped
            mask = positive_at_double(log_odds, rgb.shape[:2])
    if np.count_nonzero(mask) < _P.min_share * mask.size:
        mask = np.zeros_like(mask)
    return mask, plain


def _classify(log_odds: Array, geometry: Geometry) -> Array:
    """Returns the main components of the pixels with positive log-odds, boolean ``[H, W]``; none if the evidence is weak."""
    if np.abs(log_odds).sum() < _MIN_CLARITY * log_odds.size:
        log_odds[:] = 0
    return _main_components(log_odds > 0, geometry)


def _threshold(distance: Array, spread: float) -> Array:
    """Returns the foreground on a plain background, boolean ``[H, W]``.

    Pixels similar to the background are background if they are connected to the border or form a hole. There is no
    foreground if its differences are no larger than the noise of the background.

    Args:
        distance: Color difference of each pixel from the background, float64 ``[H, W]``.
        spread: See ``Background``.
    """
    height, width = distance.shape
    far, pale = distance > _P.step, distance > _P.pale_step
    if np.count_nonzero(pale) > _P.pale_growth * np.count_nonzero(far):
        far = pale
    free = Components(neighbor_count(far) <= _P.max_foreground_neighbors)
    edge = (free.row == 0) | (free.row == height - 1) | (free.begin == 0) | (free.end == width)
    mask = ~free.mask(free.sizes(edge) > 0)
    if not distance[mask].sum() > _P.contrast * spread * np.count_nonzero(mask):
        return np.zeros_like(mask)
    hole = mask & (neighbor_count(distance < _P.hole_distance) >= _P.hole_neighbors)
    min_size = _P.hole_min_share * np.count_nonzero(mask)
    if np.count_nonzero(hole) <= min_size:
        return mask
    holes = Components(hole)
    size = holes.sizes()
    core = holes.count(distance < _P.hole_core_distance) / np.maximum(size, 1)
    return mask & ~holes.mask((size > min_size) & (core > _P.hole_core_share))


def _main_components(mask: Array, geometry: Geometry) -> Array:
    """Returns the largest component and others of similar size; pixels near the center count more."""
    components = Components(mask)
    columns = geometry.column_centrality
    width = columns[components.end] - columns[components.begin]
    return components.large(components.sizes(geometry.row_centrality[components.row] * width), _P.part_share)
