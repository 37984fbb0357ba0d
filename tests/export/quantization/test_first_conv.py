"""The widened first convolution gives the same bits."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

from fmnist_export.convert import strip_build_details, to_onnx
from fmnist_export.graph import layers
from fmnist_export.quantization.first_conv import narrow_first_convolution
from fmnist_export.quantization.quantize import quantize
from fmnist_export.quantization.sensitivity import signal_to_noise
from fmnist_export.settings import QuantizationSettings
from fmnist_train.models import Normalize


def content(model: onnx.ModelProto) -> tuple[list[tuple[object, ...]], dict[str, object]]:
    """Nodes in order, and constants by name, whichever way the file stores them."""
    nodes = [
        (node.op_type, *node.input, *node.output, *sorted(str(attribute) for attribute in node.attribute))
        for node in model.graph.node
    ]
    return nodes, {i.name: onnx.numpy_helper.to_array(i).tolist() for i in model.graph.initializer}


@pytest.mark.parametrize("bias", [True, False])
def test_a_widened_first_convolution_gives_the_same_bits(
    small_network: Callable[..., nn.Sequential], images: np.ndarray, monkeypatch: pytest.MonkeyPatch, bias: bool
) -> None:
    network = small_network()
    if not bias:
        network[1].bias = None
    model = to_onnx(network)
    widened = quantize(model, images, QuantizationSettings())
    monkeypatch.setattr("fmnist_export.quantization.quantize.widen_first_convolution", lambda model: None)
    plain = quantize(model, images, QuantizationSettings())
    assert [layers(graph)[0].weight for graph in (plain, widened)] == [(8, 1, 3, 3), (56, 1, 3, 9)]
    sessions = [onnxruntime.InferenceSession(graph.SerializeToString()) for graph in (plain, widened)]
    one, two = (session.run(["logits"], {"image": images[:, None]})[0] for session in sessions)
    assert np.array_equal(one, two) and one.std() > 0
    ratios = [signal_to_noise(model, graph, images[:64]) for graph in (plain, widened)]
    assert ratios[0] == pytest.approx(ratios[1]) and len(ratios[0]) == 3
    narrow_first_convolution(widened)
    assert content(strip_build_details(widened)) == content(plain)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.Conv2d(1, 8, 5, padding=2)])
def test_another_first_convolution_stays_as_it_is(images: np.ndarray, layer: nn.Conv2d) -> None:
    side = 28 // layer.stride[0]
    network = nn.Sequential(Normalize(), layer, nn.ReLU(), nn.Flatten(), nn.Linear(8 * side**2, 10)).eval()
    found = layers(
        quantize(to_onnx(network), images, QuantizationSettings(refine=False))
    )  # fitting 6,272 inputs takes long
    assert found[0].weight == tuple(layer.weight.shape)
