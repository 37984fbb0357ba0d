"""What quantises better than rounding to the nearest, and changes nothing that it should not."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_export.convert import strip_build_noise, to_onnx
from fmnist_export.graph import layers, signal_to_noise, tensor_values
from fmnist_export.quantization.equalize import equalise
from fmnist_export.quantization.first_conv import narrow_first_convolution
from fmnist_export.quantization.integer_form import for_integers
from fmnist_export.quantization.quantize import quantise
from fmnist_export.quantization.rounding import round_in_turn
from fmnist_export.settings import Quantisation
from fmnist_train.data.sources import find_dataset
from fmnist_train.models import Normalize, build_model


def small_network(groups: int = 1) -> nn.Sequential:
    """Two convolutions and a dense layer; one channel has a range that is many times that of the others."""
    torch.manual_seed(0)
    network = nn.Sequential(
        Normalize(),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=groups),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(392, 10),
    )
    with torch.no_grad():
        network[1].weight[3] *= 200
        network[3].weight[:, 3 if groups == 1 else 0] /= 200
    return network.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return find_dataset("sample").load("train").images[:128]


def error(reference: onnx.ModelProto, other: onnx.ModelProto, images: np.ndarray) -> float:
    one, two = (tensor_values(model, ["logits"], images)["logits"] for model in (reference, other))
    return float(np.sqrt(((one - two) ** 2).mean()) / one.std())


def content(model: onnx.ModelProto) -> tuple[list[tuple[object, ...]], dict[str, object]]:
    """Nodes in order, and constants by name, whichever way the file stores them."""
    nodes = [
        (node.op_type, *node.input, *node.output, *sorted(str(attribute) for attribute in node.attribute))
        for node in model.graph.node
    ]
    return nodes, {i.name: onnx.numpy_helper.to_array(i).tolist() for i in model.graph.initializer}


def test_equalised_channels_have_like_ranges_and_the_same_answers(images: np.ndarray) -> None:
    model = to_onnx(small_network())
    equal = equalise(model, images)
    assert error(model, equal, images) < 1e-5
    for graph, alike in ((model, False), (equal, True)):
        ranges = tensor_values(graph, ["relu"], images)["relu"].max(axis=(0, 2, 3))
        assert (ranges.max() / ranges[ranges > 0].min() < 10) == alike
    depthwise = to_onnx(small_network(groups=8))
    assert error(depthwise, equalise(depthwise, images), images) < 1e-5


@pytest.mark.parametrize("groups", [1, 8])
def test_refining_lowers_the_error_and_keeps_seven_bits(groups: int, images: np.ndarray) -> None:
    model = to_onnx(small_network(groups))
    plain = quantise(model, images, Quantisation(refine=False))
    refined = quantise(model, images, Quantisation())
    unseen = find_dataset("sample").load("test").images[:200]
    assert error(model, refined, unseen) < (0.5 if groups == 1 else 1.0) * error(model, plain, unseen)
    for tensor in refined.graph.initializer:
        if tensor.name.endswith("weight_quantized"):
            assert np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64


def test_rounding_in_turn_beats_the_nearest() -> None:
    rng = np.random.default_rng(0)
    inputs = np.append(rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)), np.ones((500, 1)), axis=1)
    weights, scale = rng.normal(size=(5, 13)), np.full(5, 0.25)
    integers, bias = round_in_turn(weights, inputs.T @ inputs, scale, 64)
    nearest = np.round(weights[:, :-1] / 0.25) * 0.25
    ours = np.append(integers * 0.25, bias[:, None], axis=1)
    wrong = [np.append(nearest, weights[:, -1:], axis=1), ours]
    by_nearest, by_turn = (float(((inputs @ (w - weights).T) ** 2).mean()) for w in wrong)
    assert (integers == np.round(integers)).all() and by_turn < 0.6 * by_nearest


def test_the_noisiest_layer_is_named_and_a_layer_can_stay_in_float(images: np.ndarray) -> None:
    model = to_onnx(small_network())
    assert [layer.name for layer in layers(model)] == ["relu", "relu_1", "logits"]
    quantised = quantise(model, images, Quantisation(refine=False))
    ratios = signal_to_noise(model, quantised, images)
    assert list(ratios.values()) == sorted(ratios.values()) and min(ratios.values()) > 5
    spared = quantise(model, images, Quantisation(refine=False, float_layers=("relu_1",)))
    assert sum(i.name.endswith("weight_quantized") for i in spared.graph.initializer) == 2
    assert error(model, spared, images) < error(model, quantised, images)


def test_the_integer_form_computes_the_same(images: np.ndarray) -> None:
    torch.manual_seed(0)
    model = build_model("batchnorm").train()
    pixels = torch.from_numpy(images[:, None])
    model(pixels)  # batch norm has seen something
    arranged = for_integers(model)
    with torch.no_grad():
        assert torch.allclose(arranged(pixels), model.eval()(pixels), atol=1e-4)
    assert [layer.weight for layer in layers(to_onnx(arranged))] == [(256, 28, 5, 1), (32, 16, 5, 5), (10, 512)]
    assert for_integers(small_network()) is None


@pytest.mark.parametrize("bias", [True, False])
def test_a_widened_first_convolution_gives_the_same_bits(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, bias: bool
) -> None:
    network = small_network()
    if not bias:
        network[1].bias = None
    model = to_onnx(network)
    widened = quantise(model, images, Quantisation())
    monkeypatch.setattr("fmnist_export.quantization.quantize.widen_first_convolution", lambda model: None)
    plain = quantise(model, images, Quantisation())
    assert [layers(graph)[0].weight for graph in (plain, widened)] == [(8, 1, 3, 3), (56, 1, 3, 9)]
    sessions = [onnxruntime.InferenceSession(graph.SerializeToString()) for graph in (plain, widened)]
    one, two = (session.run(["logits"], {"image": images[:, None]})[0] for session in sessions)
    assert np.array_equal(one, two) and one.std() > 0
    ratios = [signal_to_noise(model, graph, images[:64]) for graph in (plain, widened)]
    assert ratios[0] == pytest.approx(ratios[1]) and len(ratios[0]) == 3
    narrow_first_convolution(widened)
    assert content(strip_build_noise(widened)) == content(plain)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.Conv2d(1, 8, 5, padding=2)])
def test_another_first_convolution_stays_as_it_is(images: np.ndarray, layer: nn.Conv2d) -> None:
    side = 28 // layer.stride[0]
    network = nn.Sequential(Normalize(), layer, nn.ReLU(), nn.Flatten(), nn.Linear(8 * side**2, 10)).eval()
    found = layers(quantise(to_onnx(network), images, Quantisation()))
    assert found[0].weight == tuple(layer.weight.shape)
