"""What finds a garment, against the plain way to compute the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing import color_model
from fmnist_runtime.preprocessing.array_ops import (
    _CURVE,
    Components,
    binomial_sum,
    luma,
    neighbor_count,
    percentile,
    positive_at_double,
    to_lab,
)
from fmnist_runtime.preprocessing.background import Background, background_distance, fit_background, geometry_of
from fmnist_runtime.preprocessing.parameters import PARAMETERS, parameters_json
from fmnist_runtime.preprocessing.person import remove_person
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.preprocessing.segmentation import segment

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))


def flooded(mask: np.ndarray) -> np.ndarray:
    """A label for each 4-connected part: the flat index of its last pixel, pixel by pixel; -1 outside."""
    label = np.where(mask, np.arange(mask.size).reshape(mask.shape), -1)
    while True:
        before = label.copy()
        for axis in (0, 1):
            for step in (1, -1):
                shifted = np.full_like(label, -1)
                into = [slice(None)] * 2
                into[axis] = slice(step, None) if step > 0 else slice(None, step)
                source = [slice(None)] * 2
                source[axis] = slice(None, -step) if step > 0 else slice(-step, None)
                shifted[tuple(into)] = label[tuple(source)]
                label = np.where(mask, np.maximum(label, shifted), -1)
        if np.array_equal(before, label):
            return label


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95, 1.0])
def test_components_are_those_of_a_flood_fill(share: float) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (17, 23)):
        mask, other = rng.random(shape) < share, rng.random(shape) < 0.5
        expected, components = flooded(mask), Components(mask)
        sizes, counts = components.sizes(), components.count(other)
        found = [components.mask(np.arange(len(sizes)) == part) for part in np.flatnonzero(sizes)]
        wanted = [expected == label for label in np.unique(expected[expected >= 0])]
        assert len(found) == len(wanted)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert sizes[sizes > 0].tolist() == [part.sum() for part in wanted]
        assert counts[sizes > 0].tolist() == [(part & other).sum() for part in wanted]


def test_binomial_sums_have_the_weights_1_2_1_along_each_axis() -> None:
    values = np.random.default_rng(0).integers(0, 9, (7, 8, 9))
    expected = values
    for axis in range(3):
        first, center, last = (np.take(expected, range(i, expected.shape[axis] - 2 + i), axis) for i in range(3))
        expected = first + 2 * center + last
    sums = binomial_sum(values.ravel(), (72, 9, 1))
    padded = np.append(sums, [0] * (values.size - len(sums))).reshape(values.shape)
    assert np.array_equal(padded[:5, :6, :7], expected)


def test_neighbors_are_counted_with_the_border_repeated() -> None:
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1, "edge"), (3, 3)).sum(axis=(2, 3))
    assert np.array_equal(neighbor_count(mask), windows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (7, 9), (8, 10)])
def test_the_doubled_mask_is_that_of_linear_interpolation(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(-4, 5, [(side + 1) // 2 for side in shape]).astype(float)
    rows, columns = (np.minimum(np.arange(side) / 2, n - 1) for side, n in zip(shape, values.shape, strict=True))
    down = np.stack([np.interp(rows, np.arange(len(column)), column) for column in values.T], axis=1)
    expected = np.stack([np.interp(columns, np.arange(len(row)), row) for row in down])
    assert np.array_equal(positive_at_double(values, shape), expected > 0)


@pytest.mark.parametrize("share", [0, 3, 33.3, 50, 97, 100])
def test_percentile_is_numpys(share: float) -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 10, 999):
        values = rng.random(count)
        assert percentile(values, share) == np.percentile(values, share)


def test_luma_is_in_whole_thousandths() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(luma(rgb), rgb.astype(np.int64) @ [299, 587, 114])


def test_colors_fall_into_the_bins_of_exact_arithmetic() -> None:
    p = PARAMETERS.color_model
    difference = np.arange(-65536, 65537).astype(np.float32) / 65536  # all that x - y and y - z can be
    for axis, values in enumerate((116 * _CURVE - 16, 500 * difference, 200 * difference)):
        low, span, bins = p.low[axis], p.span[axis], p.bins[axis]
        exact = ((values.astype(np.float64) - low) / span * bins).astype(int).clip(0, bins - 1)
        lab = np.zeros((3, 1, len(values)), np.float32)
        lab[axis] = values
        codes = color_model.ColorHistogram(lab).codes
        assert np.array_equal(codes, exact - exact.min())  # every bin occurs, so codes count them


def test_log_ratios_are_those_of_smoothed_histograms() -> None:
    p = PARAMETERS.color_model
    rng = np.random.default_rng(0)
    lab = (rng.random((3, 20, 20)) * 180 - 80).astype(np.float32)  # beyond the ends of a and b, too
    margin = np.tanh(rng.normal(size=400))
    histogram = color_model.ColorHistogram(lab)
    axes = zip(lab.reshape(3, -1).astype(np.float64), p.bins, p.low, p.span, strict=True)
    place = [np.floor((v - low) / span * n).clip(0, n - 1).astype(int) + 1 for v, n, low, span in axes]
    shares = []
    for weight in (1 + margin, 1 - margin):
        full = np.zeros([n + 2 for n in p.bins])
        np.add.at(full, tuple(place), weight)
        for axis in range(3):
            full = full / 2 + (np.roll(full, 1, axis) + np.roll(full, -1, axis)) / 4
        shares.append(full[tuple(place)] / weight.sum() + p.floor)
    expected = np.log(shares[0] / shares[1]).clip(-p.max_ratio, p.max_ratio)
    np.testing.assert_allclose(histogram.log_ratio(margin)[histogram.codes], expected, rtol=1e-9)


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


def test_the_parameters_of_the_page_are_those_of_the_device() -> None:
    values = json.loads(parameters_json())
    assert set(values) == {"background", "plain", "color_model", "person", "tone"}
    assert values["color_model"]["final_weight"] == PARAMETERS.color_model.final_weight
    assert tuple(values["tone"]["gaussian"]) == PARAMETERS.tone.gaussian


def test_a_white_shirt_on_white_is_found_and_a_shadow_is_not() -> None:
    shirt = np.full((120, 90, 3), 255, np.uint8)
    shirt[15:105, 20:70], shirt[15:22, 38:52] = 246, 120  # only the label inside its collar is dark
    mask, plain = segment(shirt)
    assert plain and mask[20:100, 25:65].all() and not mask[:, :15].any()
    shoe = np.full((90, 120, 3), 255, np.uint8)
    shoe[30:60, 15:105], shoe[60:62, 15:105] = 90, 246  # its shadow below
    mask, plain = segment(shoe)
    assert plain and mask[32:58, 20:100].all() and not mask[62:].any() and mask.sum() < 1.08 * 30 * 90


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (1080, 1920), (300, 300), (1, 1), (40, 5)])
def test_where_there_is_nothing_nothing_is_found(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for tone in (0, 128, 255, (120, 90, 40)):
        for deviation in (0, 3, 12, 30, 80):  # of a sensor's noise
            frame = rng.normal(tone, deviation, (*size, 3)).clip(0, 255).astype(np.uint8)
            assert not to_network_input(Image.fromarray(frame)).any(), (tone, deviation)


def test_a_wearer_is_taken_away_and_a_shirt_of_the_colour_of_skin_is_not() -> None:
    for shirt in ((60, 80, 160), (225, 205, 175)):
        person = np.full((128, 96, 3), 255, np.uint8)
        person[6:34, 38:58] = 205, 150, 120
        person[34:96, 18:78] = shirt
        person[96:128, 24:72] = 40, 40, 60
        garment = remove_person(person, (person != 255).any(axis=2))
        assert garment[40:90, 20:76].all(), shirt
        assert not garment[:26].any() and not garment[96:].any(), shirt
