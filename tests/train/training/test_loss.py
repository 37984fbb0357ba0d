"""Losses of a recipe, and mixed pairs."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from fmnist_runtime.errors import ConfigError
from fmnist_train.recipes import Recipe
from fmnist_train.training.loss import Loss, mix_pairs

PLAIN = Recipe(name="plain", model="custom")


def test_losses_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 3), torch.randint(3, (8,))
    logs, rows = F.log_softmax(logits, 1), F.one_hot(labels, 3).float()
    expected = -(logs * rows).sum(1).mean()
    assert torch.allclose(Loss(PLAIN, 3)(logits, labels), expected)
    assert torch.allclose(Loss(PLAIN, 3)(logits, rows), expected)
    smooth = Loss(dataclasses.replace(PLAIN, label_smoothing=0.3), 3)
    assert torch.allclose(smooth(logits, labels), -(logs * (0.7 * rows + 0.1)).sum(1).mean())
    weighted = Loss(dataclasses.replace(PLAIN, class_weights=(1.0, 0.0, 2.0)), 3)
    weights = torch.tensor([1.0, 0.0, 2.0])[labels]
    assert torch.allclose(weighted(logits, labels), -(weights * (logs * rows).sum(1)).sum() / weights.sum())
    with pytest.raises(ConfigError, match="3 class weights for 10 classes"):
        Loss(dataclasses.replace(PLAIN, class_weights=(1.0, 0.0, 2.0)), 10)


def test_mixed_pairs_keep_image_and_target_together() -> None:
    torch.manual_seed(0)
    rows = torch.eye(10)
    images, targets = mix_pairs(rows.view(10, 1, 1, 10) * 255, rows, 1.0)
    assert torch.allclose(images.view(10, 10) / 255, targets) and torch.allclose(targets.sum(1), torch.ones(10))
    assert not torch.equal(targets, rows)
