"""What finds a garment, against the plain way to compute the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing import color_model as separate
from fmnist_runtime.preprocessing.array_ops import _CURVE, Parts, box_count, box_sum, luma, percentile, to_lab
from fmnist_runtime.preprocessing.background import distance_from, fit_ground, frame_of, sample_step
from fmnist_runtime.preprocessing.person import without_wearer
from fmnist_runtime.preprocessing.pipeline import _channels, to_network_input
from fmnist_runtime.preprocessing.segmentation import find_garment

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
def test_parts_are_those_of_a_flood_fill(share: float) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (17, 23)):
        mask, other = rng.random(shape) < share, rng.random(shape) < 0.5
        expected, parts = flooded(mask), Parts(mask)
        sizes, counts = parts.sizes(), parts.count(other)
        found = [parts.mask(np.arange(len(sizes)) == part) for part in np.flatnonzero(sizes)]
        wanted = [expected == label for label in np.unique(expected[expected >= 0])]
        assert len(found) == len(wanted)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert sizes[sizes > 0].tolist() == [part.sum() for part in wanted]
        assert counts[sizes > 0].tolist() == [(part & other).sum() for part in wanted]


def test_sums_over_squares() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (20, 30))
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3)).sum(axis=(2, 3))
    sums = np.append(box_sum(values.ravel(), 30), [0, 0]).reshape(-1, 30)
    assert np.array_equal(sums[:, :28], windows)
    mask = values > 4
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1, "edge"), (3, 3)).sum(axis=(2, 3))
    assert np.array_equal(box_count(mask), windows)


@pytest.mark.parametrize("share", [0, 3, 33.3, 50, 97, 100])
def test_percentile_is_numpys(share: float) -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 10, 999):
        values = rng.random(count)
        assert percentile(values, share) == np.percentile(values, share)


def test_luma_is_in_whole_thousandths() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(luma(rgb), rgb.astype(np.int64) @ [299, 587, 114])


def test_colours_fall_into_the_bins_of_exact_arithmetic() -> None:
    difference = np.arange(-65536, 65537).astype(np.float32) / 65536  # all that x - y and y - z can be
    lightness, a, b = 116 * _CURVE - 16, 500 * difference, 200 * difference
    for values, bins, low, span in ((lightness, 16, 0, 100), (a, 24, -60, 120), (b, 24, -60, 120)):
        exact = ((values.astype(np.float64) - low) / span * bins).astype(int).clip(0, bins - 1)
        found, first, last = separate._indices(values, bins, low, span)
        assert np.array_equal(found, exact) and (first, last) == (exact.min(), exact.max())
        beyond = separate._indices(np.full(3, low + 2 * span, np.float32), bins, low, span)
        assert beyond[0].tolist() == [bins - 1] * 3 and beyond[1:] == (bins - 1, bins - 1)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_where_float32_could_decide_float64_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = to_lab(_channels(open_image(path))[0])
    frame, step = frame_of(lab.shape[1:]), sample_step(lab.shape[1:])
    surface, spread = fit_ground(lab, frame)
    bins = separate._Bins(lab, step)
    single, double = (
        separate._sharpen(distance_from(lab, surface, frame, precision), spread, bins, frame)
        for precision in (np.float32, np.float64)
    )
    assert np.abs(single - double).max() < separate._DOUBT / 5
    asked = []
    monkeypatch.setattr(separate, "_DOUBT", np.abs(single).min() * 1.01)
    fields = {np.dtype(np.float32): single, np.dtype(np.float64): double}
    monkeypatch.setattr(
        separate, "_sharpen", lambda distance, *_: asked.append(distance.dtype) or fields[distance.dtype]
    )
    assert np.array_equal(separate.separate(lab, surface, spread, frame), double > 0)
    assert asked == [np.float32, np.float64]


def test_a_white_shirt_on_white_is_found_and_a_shadow_is_not() -> None:
    shirt = np.full((120, 90, 3), 255, np.uint8)
    shirt[15:105, 20:70], shirt[15:22, 38:52] = 246, 120  # only the label inside its collar is dark
    mask, plain = find_garment(shirt)
    assert plain and mask[20:100, 25:65].all() and not mask[:, :15].any()
    shoe = np.full((90, 120, 3), 255, np.uint8)
    shoe[30:60, 15:105], shoe[60:62, 15:105] = 90, 246  # its shadow below
    mask, plain = find_garment(shoe)
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
        garment = without_wearer(person, (person != 255).any(axis=2))
        assert garment[40:90, 20:76].all(), shirt
        assert not garment[:26].any() and not garment[96:].any(), shirt
