"""Fine-tuning for integers: the rounding, its gradients, and what it improves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_export.convert import to_onnx
from fmnist_export.graph import tensor_values
from fmnist_export.quantization.equalize import equalize
from fmnist_export.quantization.qat import fake_activation, fake_weight, fine_tune
from fmnist_export.quantization.quantize import quantize
from fmnist_export.settings import QuantizationSettings
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits

pytestmark = pytest.mark.usefixtures("one_thread")


def test_fake_quantization_rounds_and_lets_gradients_through() -> None:
    weight = torch.tensor([[0.26, -0.9, 0.1], [3.0, 2.1, -9.0]], requires_grad=True)
    step = torch.tensor([0.5, 1.0], requires_grad=True)
    rounded = fake_weight(weight, step, 2)
    assert rounded.tolist() == [[0.5, -1.0, 0.0], [2.0, 2.0, -2.0]]
    rounded.sum().backward()
    assert weight.grad.tolist() == [[1, 1, 1], [0, 0, 0]]  # nothing beyond the last step moves
    assert step.grad[1] == 2 + 2 - 2  # the last step itself does
    value = torch.tensor([0.0, 0.4, 127.6, 255.0], requires_grad=True)
    assert fake_activation(value).tolist() == [0, 0, 128, 255]
    fake_activation(value).sum().backward()
    assert value.grad.tolist() == [1] * 4


def test_tuning_gives_the_same_weights_twice_and_leaves_the_network(trained: Path) -> None:
    images = find_dataset("sample").load("train").images[:128]
    network = load_checkpoint(trained).model
    before = {name: value.clone() for name, value in network.state_dict().items()}
    equal = equalize(to_onnx(network), images)
    one, two = (fine_tune(network, equal, images, 64, epochs=1) for _ in range(2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in one.state_dict().items() if name in before)


def test_tuning_brings_integers_nearer_to_the_float_network(hostile: Callable[..., Path]) -> None:
    images = find_dataset("sample").load("train").images[:256]
    network = load_checkpoint(hostile([0, 1, 2, 3], dead=True)).model
    tuned = fine_tune(network, equalize(to_onnx(network), images), images, 64, epochs=1)
    expected = predict_logits(network, images)
    errors = []
    for candidate in (network, tuned):
        quantized = quantize(to_onnx(candidate), images, QuantizationSettings())
        logits = tensor_values(quantized, ["logits"], images)["logits"]
        errors.append(float(np.mean((logits - expected) ** 2)))
    assert errors[1] < 0.5 * errors[0]
