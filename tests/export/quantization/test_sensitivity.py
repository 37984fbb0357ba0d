"""The noisiest layer is found, with and without the noise of the layers before it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.graph import layers
from fmnist_export.quantization.equalize import equalize
from fmnist_export.quantization.quantize import quantize
from fmnist_export.quantization.sensitivity import layer_noise, signal_to_noise, worst_layer
from fmnist_export.settings import QuantizationSettings
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.sources import find_dataset


def test_the_noisiest_layer_is_named_and_a_layer_can_stay_in_float(
    small_network: Callable[..., nn.Sequential], logit_error: Callable[..., float], images: np.ndarray
) -> None:
    model = to_onnx(small_network())
    assert [layer.name for layer in layers(model)] == ["relu", "relu_1", "logits"]
    quantized = quantize(model, images, QuantizationSettings(refine=False))
    ratios = signal_to_noise(model, quantized, images)
    assert list(ratios.values()) == sorted(ratios.values()) and min(ratios.values()) > 5
    spared = quantize(model, images, QuantizationSettings(refine=False, float_layers=("relu_1",)))
    assert sum(i.name.endswith("weight_quantized") for i in spared.graph.initializer) == 2
    assert logit_error(model, spared, images) < logit_error(model, quantized, images)


def test_the_first_layer_can_stay_in_float(
    small_network: Callable[..., nn.Sequential], logit_error: Callable[..., float], images: np.ndarray
) -> None:
    model = to_onnx(small_network())
    for refine in (False, True):
        spared = quantize(model, images, QuantizationSettings(refine=refine, float_layers=("relu",)))
        assert sum(i.name.endswith("weight_quantized") for i in spared.graph.initializer) == 2
        quantized = quantize(model, images, QuantizationSettings(refine=refine))
        assert logit_error(model, spared, images) < logit_error(model, quantized, images)


def test_the_noisy_layer_is_named_and_not_those_after_it(hostile: Callable[..., Path]) -> None:
    images = find_dataset("sample").load("train").images[:128]
    model = to_onnx(load_checkpoint(hostile([1], dead=True)).model)
    reference, quantized = equalize(model, images), quantize(model, images, QuantizationSettings())
    noise = layer_noise(reference, quantized, images)
    assert next(iter(noise)) == "relu_2" == worst_layer(reference, quantized, images, ())
    assert list(noise.values()) == sorted(noise.values()) and noise["relu_2"] < noise["relu_1"] - 20
    spared = quantize(model, images, QuantizationSettings(float_layers=("relu_2",)))
    assert layer_noise(reference, spared, images)["relu_2"] > 30
