"""The background surface and the distance from it."""

from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.array_ops import (
    to_lab,
)
from fmnist_runtime.preprocessing.background import Background, background_distance, fit_background, geometry_of
from fmnist_runtime.preprocessing.parameters import PARAMETERS

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.jpg"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_surface_is_that_of_weighted_least_squares(path: Path) -> None:
    lab = to_lab(np.asarray(open_image(path).convert("RGB").resize((64, 48))))
    geometry = geometry_of((48, 64))
    background = fit_background(lab, geometry)
    basis, color = geometry.ring_basis.T, lab.reshape(3, -1)[:, geometry.ring].T.astype(np.float64)
    p, weight = PARAMETERS.background, np.ones(len(color))
    for _ in range(p.rounds):
        root = np.sqrt(weight)[:, None]
        penalty = np.diag(np.sqrt(np.array(p.penalty) * len(color)))
        left, right = np.vstack([root * basis, penalty]), np.vstack([root * color, np.zeros((6, 3))])
        surface = np.linalg.lstsq(left, right)[0]
        distance = np.linalg.norm(color - basis @ surface, axis=1)
        weight = 1 / (1 + (distance / (1.5 * max(1.5, 1.48 * np.median(distance)))) ** 2)
    np.testing.assert_allclose(background.surface, surface, rtol=1e-6, atol=1e-6)
    assert background.spread == pytest.approx(np.percentile(distance, 60))


def test_distances_from_a_slanted_background_are_weighted_by_channel() -> None:
    surface = np.zeros((6, 3))
    surface[:3, 0] = 50, 10, -5  # L = 50 + 10 x - 5 y
    lab = np.zeros((3, 9, 11), np.float32)
    lab[1] = 3
    geometry = geometry_of((9, 11))
    y, x = np.mgrid[-1:1:9j, -1:1:11j]
    expected = np.sqrt(0.6 * (50 + 10 * x - 5 * y) ** 2 + 1.4 * 9)
    np.testing.assert_allclose(background_distance(lab, Background(surface, 0.0), geometry), expected, rtol=1e-12)
