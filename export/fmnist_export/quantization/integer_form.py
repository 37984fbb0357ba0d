"""Rearrangement of a network for integer kernels, with the same outputs.

A 5×5 convolution of one channel is slow on integers: gathering 25 bytes for each position takes longer than multiplying
them. If it follows the fixed resize, both are linear and can be divided in another way. One matrix resizes the rows. Then the
pixels of a row become channels, and a convolution along the columns computes all positions of a row at once. Its weights are
the products of the original weights and the resize of the columns. This takes five times the multiplications, but in matrices
large enough for integer units. In float it would be slower.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_export.convert import fold_batch_norm
from fmnist_train.models.layers import Resize

__all__ = ["ResizedConvolution", "to_integer_form"]


class ResizedConvolution(nn.Module):
    """``Resize``, a convolution of its one channel that keeps the size, and ReLU: ``[N, 1, S, S]`` to ``[N, C, s, s]``."""

    rows: Tensor
    """Matrix that resizes the rows, float32 ``[s, S]``."""

    def __init__(self, resize: Resize, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel, padding = convolution.kernel_size[0], convolution.kernel_size[0] // 2
        columns = F.pad(resize.matrix.double(), (0, 0, padding, padding))
        columns = columns.unfold(0, kernel, 1)  # [position, pixel, offset]
        weight = torch.einsum("cyx,jqx->jcqy", convolution.weight.double()[:, 0], columns)
        positions, channels, pixels, _ = weight.shape
        bias = torch.zeros(channels) if convolution.bias is None else convolution.bias
        self.shape = (positions, channels)
        self.register_buffer("rows", resize.matrix)
        self.down = nn.Conv2d(pixels, positions * channels, (kernel, 1), padding=(padding, 0))
        self.down.weight = nn.Parameter(weight.reshape(self.down.weight.shape).float())
        self.down.bias = nn.Parameter(bias.repeat(positions))

    def forward(self, image: Tensor) -> Tensor:
        """Maps ``[N, 1, S, S]`` to ``[N, C, s, s]``."""
        rows = torch.matmul(self.rows, image).permute(0, 3, 2, 1)
        features = torch.relu(self.down(rows)).permute(0, 2, 3, 1)
        return features.reshape(-1, len(self.rows), *self.shape).permute(0, 3, 1, 2)


def to_integer_form(model: nn.Module) -> nn.Module | None:
    """Returns a rearranged copy in evaluation mode with folded batch norms; None if there is nothing to rearrange."""
    folded = fold_batch_norm(model)
    layers = list(folded) if isinstance(folded, nn.Sequential) else []
    for index, (first, second, third) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
        if (
            isinstance(first, Resize)
            and isinstance(second, nn.Conv2d)
            and _keeps_size(second)
            and isinstance(third, nn.ReLU)
        ):
            joined = ResizedConvolution(first, second)
            return nn.Sequential(*layers[:index], joined, *layers[index + 3 :]).eval()
    return None


def _keeps_size(layer: nn.Conv2d) -> bool:
    """Returns whether a convolution has one input channel, an odd square kernel, a bias, and the size of its input."""
    kernel = layer.kernel_size[0]
    settings = (layer.in_channels, layer.kernel_size[1], kernel % 2, layer.padding, layer.stride, layer.dilation)
    expected = (1, kernel, 1, (kernel // 2,) * 2, (1, 1), (1, 1))
    return layer.bias is not None and settings == expected and layer.padding_mode == "zeros"
