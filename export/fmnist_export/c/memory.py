"""Plans the scratch arena: each buffer's offset, so that buffers alive at the same time do not overlap."""

from collections.abc import Mapping
from dataclasses import dataclass

from fmnist_runtime.network.layers import Convolution, Network

__all__ = ["Plan", "plan_memory", "strip_bytes"]

ALIGNMENT = 4
"""Bytes of a word, the unit that kernels read."""
SLACK = 4
"""Bytes after each buffer, because kernels read whole words; the weights for these bytes are zero."""


@dataclass(frozen=True)
class Plan:
    """Offsets of the buffers in the arena."""

    offsets: Mapping[str, int]
    """Bytes, by tensor name; a layer's padded rows have the name ``"<layer>/strip"``."""
    size: int
    """Bytes of the whole arena: the peak of all layers."""


@dataclass
class _Block:
    """Buffers that share one offset, with the layers from first write to last read."""

    size: int
    first: int
    last: int
    offset: int = 0


def plan_memory(network: Network) -> Plan:
    """Places buffers largest first, each at the lowest offset that is free during its lifetime.

    A layer that works in place takes over the buffer of an input that is not read again.
    """
    last_read = {t.name: i for i, layer in enumerate(network.layers) for t in layer.inputs}
    blocks: dict[str, _Block] = {}
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
            blocks[f"{layer.name}/strip"] = _Block(strip + SLACK, i, i)
    _place(list({id(block): block for block in blocks.values()}.values()))
    size = max((block.offset + block.size for block in blocks.values()), default=0)
    return Plan({name: block.offset for name, block in blocks.items()}, _align(size))


def strip_bytes(layer: Convolution) -> int:
    """Bytes of the padded input rows of one output row; 0 where a convolution reads its input in place."""
    _, width, channels = layer.grid
    _, rows, columns, _ = layer.weight.shape
    whole_words = columns * channels % ALIGNMENT == 0
    if not any(layer.pads) and (whole_words or layer.inputs[0].name != "image"):
        return 0  # the caller's image has no slack after it
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
