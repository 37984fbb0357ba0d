"""Fusion of a convolution with the max pooling after it, which saves the memory of most rows between them.

The two rows of a 2×2 pooling are pooled as soon as they are computed. Results are equal, because no arithmetic changes.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass

from fmnist_runtime.network.layers import Convolution, Layer, Logits, MaxPool, Network, Tensor

__all__ = ["PooledConvolution", "fuse_pooling"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PooledConvolution(Convolution):
    """Convolution whose rows are pooled as soon as one row of windows is complete; ``output`` is the pooled activation."""

    convolved: Tensor
    """Activation between the two layers, which never exists as a whole."""
    pool: tuple[int, int]
    """Height and width of a window; windows do not overlap."""

    @property
    def convolved_grid(self) -> tuple[int, int, int]:
        """Height, width and channels before pooling."""
        height, width, channels = self.convolved.shape
        return height, width, channels

    @property
    def row_bytes(self) -> int:
        """Bytes of the rows of one row of windows."""
        _, width, channels = self.convolved_grid
        return self.pool[0] * width * channels

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return self.convolved_grid[0] * self.convolved_grid[1] * self.weight.size


def fuse_pooling(network: Network) -> Network:
    """Returns the network with each convolution and the max pooling of its output as one ``PooledConvolution``.

    Pooling stays a layer of its own if its windows overlap, if another layer reads the convolution's output, or if it reads
    that output in another shape.
    """
    readers = Counter(tensor.name for layer in network.layers for tensor in layer.inputs)
    layers: list[Layer] = []
    for layer in network.layers:
        before = layers[-1] if layers else None
        if (
            isinstance(layer, MaxPool)
            and isinstance(before, Convolution)
            and not isinstance(before, Logits | PooledConvolution)
            and (before.output.name, before.output.shape) == (layer.inputs[0].name, layer.inputs[0].shape)
            and readers[before.output.name] == 1
            and layer.kernel == layer.strides
        ):
            layers[-1] = _fuse(before, layer)
        else:
            layers.append(layer)
    return dataclasses.replace(network, layers=tuple(layers))


def _fuse(convolution: Convolution, pooling: MaxPool) -> PooledConvolution:
    fields = {field.name: getattr(convolution, field.name) for field in dataclasses.fields(Convolution)}
    fields["output"] = pooling.output
    return PooledConvolution(**fields, convolved=convolution.output, pool=pooling.kernel)
