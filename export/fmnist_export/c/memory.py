"""Layout of the scratch arena: offsets of the buffers, so that buffers in use at the same time do not overlap."""

from collections.abc import Mapping
from dataclasses import dataclass

from fmnist_export.c.fusion import PooledConvolution
from fmnist_runtime.network.layers import Convolution, Network

__all__ = ["Plan", "plan_memory", "strip_bytes"]

ALIGNMENT = 4
"""Bytes of a word, the unit that kernels read."""
SLACK = 4
"""Bytes after each buffer that kernels may read, because they read whole words; their weights are zero."""


@dataclass(frozen=True)
class Plan:
    """Offsets of the buffers in the arena."""

    offsets: Mapping[str, int]
    """Bytes, by tensor name."""
    strips: Mapping[str, int]
    """Bytes of a layer's padded rows, by the name of its output."""
    rows: Mapping[str, int]
    """Bytes of a layer's rows before pooling, by the name of its output."""
    size: int
    """Bytes of the whole arena: the peak of all layers."""


@dataclass
class _Block:
    """Memory of one or several buffers with the same offset."""

    size: int
    """Bytes."""
    first: int
    """Index of the layer that writes it first."""
    last: int
    """Index of the layer that reads it last."""
    offset: int = 0
    """Bytes from the start of the arena."""


def plan_memory(network: Network) -> Plan:
    """Places buffers in the order of decreasing size, each at the lowest offset that is free during its lifetime.

    The output of a layer that works in place reuses the buffer of an input that is not read again.
    """
    last_read = {t.name: i for i, layer in enumerate(network.layers) for t in layer.inputs}
    blocks: dict[str, _Block] = {}
    strips: dict[str, _Block] = {}
    rows: dict[str, _Block] = {}
    for i, layer in enumerate(network.layers):
        output = layer.output
        last = last_read.get(output.name, i)
        free = [t.name for t in layer.inputs if t.name in blocks and last_read[t.name] == i and t.size == output.size]
        if layer.in_place and free:
            block = blocks[output.name] = blocks[free[0]]
            block.last = max(block.last, last)
        elif output.name != "logits":
            blocks[output.name] = _Block(output.size + SLACK, i, last)
        if isinstance(layer, Convolution) and (strip := strip_bytes(layer)):
            strips[output.name] = _Block(strip + SLACK, i, i)
        if isinstance(layer, PooledConvolution):
            rows[output.name] = _Block(layer.row_bytes + SLACK, i, i)
    distinct = list({id(block): block for group in (blocks, strips, rows) for block in group.values()}.values())
    _place(distinct)
    size = max((block.offset + block.size for block in distinct), default=0)
    return Plan(_offsets(blocks), _offsets(strips), _offsets(rows), _align(size))


def _offsets(blocks: Mapping[str, _Block]) -> dict[str, int]:
    return {name: block.offset for name, block in blocks.items()}


def strip_bytes(layer: Convolution) -> int:
    """Returns the bytes of the padded input rows of one output row; 0 if a convolution reads its input in place."""
    _, width, channels = layer.grid
    _, rows, columns, _ = layer.weight.shape
    whole_words = columns * channels % ALIGNMENT == 0
    if not any(layer.pads) and (whole_words or layer.inputs[0].name != "image"):
        return 0  # the condition above excludes the caller's image, after which kernels must not read
    return int(rows * (width + layer.pads[1] + layer.pads[3]) * channels)


def _place(blocks: list[_Block]) -> None:
    placed: list[_Block] = []
    for block in sorted(blocks, key=lambda b: (-b.size, b.first)):
        overlapping = sorted(
            (other for other in placed if other.first <= block.last and block.first <= other.last),
            key=lambda other: other.offset,
        )
        offset = 0
        for other in overlapping:
            if offset + block.size <= other.offset:
                break
            offset = max(offset, _align(other.offset + other.size))
        block.offset = offset
        placed.append(block)


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
