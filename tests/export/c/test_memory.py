"""Buffers that are alive at the same time do not overlap, and words read behind a buffer stay inside the arena."""

import dataclasses
import itertools

import pytest

from fmnist_export.c.fusion import PooledConvolution, fuse_pooling
from fmnist_export.c.memory import SLACK, plan_memory, strip_bytes
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.layers import Convolution, MaxPool
from fmnist_runtime.network.reader import read_network


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_no_overlap(name: str, fused: bool) -> None:
    network = read_network(embedded_models()[name].read_bytes())
    network = fuse_pooling(network) if fused else network
    plan = plan_memory(network)
    last_read = {t.name: i for i, layer in enumerate(network.layers) for t in layer.inputs}
    written = {layer.output.name: (i, layer.output.size) for i, layer in enumerate(network.layers)}
    for i, layer in enumerate(network.layers):
        alive = {
            t: size
            for t, (first, size) in written.items()
            if t in plan.offsets and first <= i <= last_read.get(t, first)
        }
        if isinstance(layer, Convolution) and strip_bytes(layer):
            alive[f"{layer.name}/strip"] = strip_bytes(layer)
        if isinstance(layer, PooledConvolution):
            alive[f"{layer.name}/rows"] = layer.row_bytes
        spans = sorted((plan.offsets[t], plan.offsets[t] + size, t) for t, size in alive.items())
        for (_, stop, one), (start, _, other) in itertools.pairwise(spans):
            shared = layer.in_place and {one, other} <= {layer.output.name, *(t.name for t in layer.inputs)}
            assert start >= stop or (shared and plan.offsets[one] == plan.offsets[other])
        assert all(stop + SLACK <= plan.size for _, stop, _ in spans)


def test_pooled_rows_take_less_memory() -> None:
    network = read_network(embedded_models()["improved"].read_bytes())
    fused = fuse_pooling(network)
    pooled = [layer for layer in fused.layers if isinstance(layer, PooledConvolution)]
    assert [layer.convolved_grid for layer in pooled] == [(28, 28, 32), (14, 14, 64), (7, 7, 128)]
    assert [layer.output_grid for layer in pooled] == [(14, 14, 32), (7, 7, 64), (3, 3, 128)]
    assert fused.macs == network.macs and len(fused.layers) == len(network.layers) - 3
    whole = 28 * 28 * 32
    assert plan_memory(network).size > 2 * whole > plan_memory(fused).size > whole
    assert fuse_pooling(fused).layers == fused.layers


def test_pooling_stays_apart_where_fusion_would_change_results() -> None:
    network = read_network(embedded_models()["improved"].read_bytes())
    index = next(i for i, layer in enumerate(network.layers) if isinstance(layer, MaxPool))
    overlapping = dataclasses.replace(network.layers[index], strides=(1, 1))
    layers = (*network.layers[:index], overlapping, *network.layers[index + 1 :])
    assert overlapping in fuse_pooling(dataclasses.replace(network, layers=layers)).layers
    again = dataclasses.replace(network.layers[index], name="second reader")
    layers = (*network.layers[: index + 1], again, *network.layers[index + 1 :])
    assert network.layers[index] in fuse_pooling(dataclasses.replace(network, layers=layers)).layers
