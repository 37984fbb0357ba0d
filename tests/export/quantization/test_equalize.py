"""Equalized channels have similar ranges, and the outputs stay the same."""

from collections.abc import Callable

import numpy as np
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.graph import tensor_values
from fmnist_export.quantization.equalize import equalize


def test_equalized_channels_have_similar_ranges_and_the_same_outputs(
    small_network: Callable[..., nn.Sequential], logit_error: Callable[..., float], images: np.ndarray
) -> None:
    model = to_onnx(small_network())
    equal = equalize(model, images)
    assert logit_error(model, equal, images) < 1e-5
    for graph, alike in ((model, False), (equal, True)):
        ranges = tensor_values(graph, ["relu"], images)["relu"].max(axis=(0, 2, 3))
        assert (ranges.max() / ranges[ranges > 0].min() < 10) == alike
    depthwise = to_onnx(small_network(groups=8))
    assert logit_error(depthwise, equalize(depthwise, images), images) < 1e-5
