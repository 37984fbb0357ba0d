"""Augmentation and made-up outliers."""

import math

import pytest
import torch

from fmnist_train.augment import augment, random_shift
from fmnist_train.data import find_dataset
from fmnist_train.outliers import draw_outliers, uniform_loss
from fmnist_train.photo_augment import as_photographed
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
