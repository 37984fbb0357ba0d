"""The integer form computes the same as the network."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.graph import layers
from fmnist_export.quantization.integer_form import to_integer_form
from fmnist_train.models import build_model


def test_the_integer_form_computes_the_same(small_network: Callable[..., nn.Sequential], images: np.ndarray) -> None:
    torch.manual_seed(0)
    model = build_model("batchnorm").train()
    pixels = torch.from_numpy(images[:, None])
    model(pixels)  # batch norm has seen something
    arranged = to_integer_form(model)
    with torch.no_grad():
        assert torch.allclose(arranged(pixels), model.eval()(pixels), atol=1e-4)
    assert [layer.weight for layer in layers(to_onnx(arranged))] == [(256, 28, 5, 1), (32, 16, 5, 5), (10, 512)]
    assert to_integer_form(small_network()) is None
