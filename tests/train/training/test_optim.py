"""Optimizers: what Muon changes, and what it leaves to AdamW."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from fmnist_train.recipes import RECIPES, Recipe
from fmnist_train.training.optim import make_optimizer, orthogonalize

MUON = dataclasses.replace(RECIPES["fast"], optimizer="muon", learning_rate=0.01, weight_decay=0.1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(2304, 10)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def take_steps(model: nn.Module, recipe: Recipe, steps: int = 1) -> dict[str, Tensor]:
    """Returns the weights after some steps on the same random images."""
    torch.manual_seed(1)
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    optimizer = make_optimizer(model, recipe)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_an_orthogonalized_matrix_keeps_its_singular_vectors(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    result = left.T @ orthogonalize(left @ torch.diag(values) @ right) @ right.T
    assert torch.allclose(result, torch.diag(result.diagonal()), atol=1e-4)
    assert result.diagonal().min() > 0.5 and result.diagonal().max() < 1.3


def test_muon_changes_convolutions_alone() -> None:
    muon, adamw = take_steps(network(), MUON), take_steps(network(), dataclasses.replace(MUON, optimizer="adamw"))
    different = [name for name in muon if not torch.equal(muon[name], adamw[name])]
    assert different == ["0.weight", "3.weight"]


def test_updates_of_muon_have_the_size_of_adamw() -> None:
    first = dict(network().named_parameters())
    after = take_steps(network(), dataclasses.replace(MUON, weight_decay=0.0))
    change = (after["3.weight"] - first["3.weight"]).flatten(1)
    assert 0.1 < change.square().mean().sqrt().item() / MUON.learning_rate < 0.3  # AdamW's is 0.2 as a rule


def test_weight_decay_shrinks_a_weight_beside_its_update() -> None:
    first = network()[3].weight.detach()
    decayed, plain = (take_steps(network(), dataclasses.replace(MUON, weight_decay=w))["3.weight"] for w in (0.1, 0.0))
    assert torch.allclose(plain - decayed, MUON.learning_rate * 0.1 * first, atol=1e-6)
