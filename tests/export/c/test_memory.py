"""Buffers that are alive at the same time do not overlap, and words read behind a buffer stay inside the arena."""

import dataclasses
import itertools

import onnx
import pytest

from fmnist_export.c.fusion import PooledConvolution, fuse_pooling
from fmnist_export.c.memory import SLACK, plan_memory, strip_bytes
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.layers import Convolution, MaxPool
from fmnist_runtime.network.operators import OPERATORS
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
            alive["strip"] = strip_bytes(layer)
        if isinstance(layer, PooledConvolution):
            alive["rows"] = layer.row_bytes
        name = layer.output.name
        offsets = {**plan.offsets, "strip": plan.strips.get(name), "rows": plan.rows.get(name)}
        spans = sorted((offsets[t], offsets[t] + size, t) for t, size in alive.items())
        for (_, stop, one), (start, _, other) in itertools.pairwise(spans):
            shared = layer.in_place and {one, other} <= {layer.output.name, *(t.name for t in layer.inputs)}
            assert start >= stop or (shared and offsets[one] == offsets[other])
        assert all(stop + SLACK <= plan.size for _, stop, _ in spans)


def test_names_of_results_do_not_change_the_plan() -> None:
    model = onnx.load_model_from_string(embedded_models()["nano"].read_bytes())
    results = [n.output[0] for n in model.graph.node if n.op_type in OPERATORS]
    new = dict(zip(results, ["a_wide", "a", "a/strip", "a_wide/strip", "a/rows"], strict=False))
    networks = [read_network(model.SerializeToString())]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    networks.append(read_network(model.SerializeToString()))
    plans = [plan_memory(fuse_pooling(network)) for network in networks]
    for part in ("offsets", "strips", "rows"):
        offsets = [list(getattr(plan, part).values()) for plan in plans]
        assert offsets[0] == offsets[1]
    assert plans[0].size == plans[1].size


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
