"""Buffers that are alive at the same time do not overlap, and words read behind a buffer stay inside the arena."""

import itertools

import pytest

from fmnist_export.c.memory import SLACK, plan_memory, strip_bytes
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.layers import Convolution
from fmnist_runtime.network.reader import read_network


@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_no_overlap(name: str) -> None:
    network = read_network(embedded_models()[name].read_bytes())
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
        spans = sorted((plan.offsets[t], plan.offsets[t] + size, t) for t, size in alive.items())
        for (_, stop, one), (start, _, other) in itertools.pairwise(spans):
            shared = layer.in_place and {one, other} <= {layer.output.name, *(t.name for t in layer.inputs)}
            assert start >= stop or (shared and plan.offsets[one] == plan.offsets[other])
        assert all(stop + SLACK <= plan.size for _, stop, _ in spans)
