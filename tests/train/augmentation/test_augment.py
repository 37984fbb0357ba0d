"""Augmentation and made-up outliers."""

import math
from collections.abc import Callable

import pytest
import torch

from fmnist_train.augmentation.accessories import belts, bottles, glasses, hats, watches
from fmnist_train.augmentation.augment import augment, random_quarter_turn, random_shift
from fmnist_train.augmentation.drawing import crop_to_foreground
from fmnist_train.augmentation.outliers import draw_outliers, uniform_loss
from fmnist_train.augmentation.photo import as_photographed
from fmnist_train.augmentation.shop import draw_backpacks, draw_slippers
from fmnist_train.data.sources import find_dataset
from fmnist_train.recipes import Augmentation


@pytest.fixture(name="batch")
def sample_batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    split = find_dataset("sample").load("train")
    return torch.from_numpy(split.images[:200]).unsqueeze(1), torch.from_numpy(split.labels[:200])


def test_augmentation_keeps_shape_and_range(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = batch
    alone, photographed = augment(images, labels, Augmentation())
    assert torch.equal(alone, images.float()) and not photographed.any()
    everything = Augmentation(rotation=10, translation=0.1, shift=2, scale=(0.9, 1.1), flip=0.5, erase=0.3, photo=0.5)
    changed, photographed = augment(images, labels, everything)
    assert 0 < photographed.sum() < len(images)
    for result in (changed, as_photographed(images.float(), labels)):
        assert result.shape == images.shape and result.isfinite().all()
        assert result.min() >= 0 and result.max() <= 255.001
        assert not torch.equal(result, images.float())


def test_a_shift_moves_whole_pixels() -> None:
    images = torch.zeros(300, 1, 28, 28)
    images[:, 0, 14, 10] = 200
    shifted = random_shift(images, 2)
    assert torch.equal(shifted.sum((1, 2, 3)), torch.full((300,), 200.0))
    _, _, rows, columns = (shifted == 200).nonzero(as_tuple=True)
    assert set(rows.tolist()) == {12, 13, 14, 15, 16} and set(columns.tolist()) == {8, 9, 10, 11, 12}


def test_quarter_turns_move_a_corner_to_the_three_others() -> None:
    images = torch.zeros(300, 1, 28, 28)
    images[:, 0, 0, 27] = 200
    turned = random_quarter_turn(images, 0.5)
    _, _, rows, columns = (turned == 200).nonzero(as_tuple=True)
    corners = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(corners) == 300 and set(corners) == {(0, 0), (27, 0), (27, 27), (0, 27)}
    assert 0.4 < corners.count((0, 27)) / 300 < 0.6
    assert torch.equal(random_quarter_turn(images, 0.0), images)


def test_refit_fills_the_longest_side_and_centres() -> None:
    images = torch.zeros(2, 1, 28, 28)
    images[0, 0, 3:10, 4:18] = 200  # 7 high, 14 wide, off the center
    images[1, 0, 14:28, 20:24] = 200
    bright = crop_to_foreground(images).squeeze(1) > 100
    for seen, across, along in ((bright[0], 1, 0), (bright[1], 0, 1)):
        assert seen.any(along).all(), "the longest side is filled"
        places = seen.any(across).nonzero().flatten()
        assert 12 <= len(places) <= 15 if across else 7 <= len(places) <= 9
        assert abs(places.float().mean() - 13.5) <= 0.5


@pytest.mark.parametrize(("drawing", "least", "most"), [(draw_slippers, 1.4, 6), (draw_backpacks, 0.4, 1.1)])
def test_slippers_lie_and_backpacks_stand(
    drawing: Callable[[torch.Tensor], torch.Tensor], least: float, most: float
) -> None:
    torch.manual_seed(0)
    things = drawing(torch.zeros(100, 1, 28, 28))
    assert things.shape == (100, 1, 28, 28) and things.min() == 0 and 0 < things.max() <= 255
    seen = (things > 20).squeeze(1)
    shape = seen.any(1).sum(1) / seen.any(2).sum(1)  # columns over rows
    assert ((least < shape) & (shape < most)).float().mean() > 0.9


@pytest.mark.parametrize("drawing", [belts, watches, glasses, hats, bottles])
def test_accessories_are_things_on_a_black_background(drawing: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    things = drawing(torch.zeros(100, 1, 28, 28))
    assert things.shape == (100, 1, 28, 28) and things.isfinite().all()
    assert things.min() >= 0 and things.max() <= 255.001
    share = (things > 12).float().mean((1, 2, 3))
    assert (share > 0.02).all() and (share < 0.95).all()


def test_outliers_are_pictures_of_many_kinds(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    garments = batch[0].float()
    outliers = draw_outliers(400, garments)
    assert outliers.shape == (400, 1, 28, 28) and outliers.isfinite().all()
    assert outliers.min() >= 0 and outliers.max() <= 255
    spread = outliers.flatten(1).std(1)
    assert (spread < 1).any() and (spread > 80).any()
    assert draw_outliers(0, garments).shape == (0, 1, 28, 28)


def test_uniform_loss_is_zero_only_for_equal_probabilities() -> None:
    assert uniform_loss(torch.full((3, 10), 2.5)).item() == pytest.approx(0, abs=1e-6)
    sure = torch.zeros(1, 10)
    sure[0, 3] = 10.0
    assert uniform_loss(sure).item() == pytest.approx(math.log(9 + math.exp(10)) - 1 - math.log(10), rel=1e-5)
