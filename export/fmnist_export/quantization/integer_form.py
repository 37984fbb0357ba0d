"""The same network, arranged for integer kernels.

A 5×5 convolution of one channel is slow on integers: gathering 25 bytes for each place takes longer than multiplying them.
Where such a convolution follows the fixed resize, both are linear and can be split anew. One matrix resizes the rows. Then
the pixels of a row count as channels: a convolution down the rows gives all places of a row at once, and its weights are
those of the published convolution times the resize of the columns. These are five times the multiplications, but in products
large enough for integer units. In float it would be slower.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_export.convert import fold_batch_norm
from fmnist_train.models.layers import Resize

__all__ = ["ResizedConvolution", "for_integers"]


class ResizedConvolution(nn.Module):
    """``Resize``, a convolution of its one channel that keeps the size, and ReLU: ``[N, 1, S, S]`` to ``[N, C, s, s]``."""

    def __init__(self, resize: Resize, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel, padding = convolution.kernel_size[0], convolution.padding[0]
        columns = F.pad(resize.matrix.double(), (0, 0, padding, padding)).unfold(0, kernel, 1)  # [place, pixel, offset]
        weight = torch.einsum("cyx,jqx->jcqy", convolution.weight.double()[:, 0], columns)
        places, channels, pixels, _ = weight.shape
        self.shape = (places, channels)
        self.register_buffer("rows", resize.matrix)
        self.down = nn.Conv2d(pixels, places * channels, (kernel, 1), padding=(padding, 0))
        self.down.weight = nn.Parameter(weight.reshape(self.down.weight.shape).float())
        self.down.bias = nn.Parameter(convolution.bias.repeat(places))

    def forward(self, image: Tensor) -> Tensor:
        """Maps ``[N, 1, S, S]`` to ``[N, C, s, s]``."""
        rows = torch.matmul(self.rows, image).permute(0, 3, 2, 1)
        features = torch.relu(self.down(rows)).permute(0, 2, 3, 1)
        return features.reshape(-1, len(self.rows), *self.shape).permute(0, 3, 1, 2)


def for_integers(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode, batch norms folded, that computes the same; None where nothing is to be arranged."""
    layers = list(fold_batch_norm(model)) if isinstance(model, nn.Sequential) else []
    for index, (first, second, third) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
        if isinstance(first, Resize) and _keeps_size(second) and isinstance(third, nn.ReLU):
            joined = ResizedConvolution(first, second)
            return nn.Sequential(*layers[:index], joined, *layers[index + 3 :]).eval()
    return None


def _keeps_size(layer: nn.Module) -> bool:
    """Whether it is a plain convolution of one channel with a square, odd kernel, a bias and output as large as its input."""
    if not isinstance(layer, nn.Conv2d) or layer.bias is None:
        return False
    kernel = layer.kernel_size[0]
    settings = (layer.in_channels, layer.kernel_size[1], kernel % 2, layer.padding, layer.stride, layer.dilation)
    return settings == (1, kernel, 1, (kernel // 2,) * 2, (1, 1), (1, 1)) and layer.padding_mode == "zeros"
