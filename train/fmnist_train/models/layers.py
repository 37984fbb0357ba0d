"""Layers of the networks; each becomes operators with integer kernels in onnxruntime."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.spec import IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD

__all__ = ["Normalize", "ResidualBlock", "Resize", "SqueezeExcitation", "conv_bn_relu"]


class Normalize(nn.Module):
    """Computes ``(pixel - mean) / std`` from 8-bit pixel values; no parameters."""

    def __init__(self, mean: float = PIXEL_MEAN, std: float = PIXEL_STD) -> None:
        super().__init__()
        self.mean = float(mean)
        self.std = float(std)

    def forward(self, image: Tensor) -> Tensor:
        """Normalizes pixels of any shape and dtype; returns float32 of the same shape."""
        return (image.to(torch.float32) - self.mean) / self.std

    def extra_repr(self) -> str:
        """Returns the options, for ``repr``."""
        return f"mean={self.mean:g}, std={self.std:g}"


class Resize(nn.Module):
    """Bilinear reduction to ``side × side`` pixels with antialiasing, as in Pillow; no parameters.

    Along each axis it is a product with one fixed matrix, which gives the same result in PyTorch and every ONNX runtime.
    """

    matrix: Tensor
    """float32 ``[side, 28]``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        unit = torch.eye(IMAGE_SIZE)[None, None]
        matrix = F.interpolate(unit, size=(side, IMAGE_SIZE), mode="bilinear", antialias=True)[0, 0]
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Resizes float32 ``[N, 1, 28, 28]`` to ``[N, 1, side, side]``."""
        columns = F.linear(image, self.matrix)
        return F.linear(columns.transpose(2, 3), self.matrix).transpose(2, 3)

    def extra_repr(self) -> str:
        """Returns the options, for ``repr``."""
        return f"side={len(self.matrix)}"


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Returns the layers convolution, batch norm and ReLU.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the convolution, odd; padding keeps the height and width.
        stride: Divisor of height and width.
    """
    return [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a gate that is computed from the channel means (Hu et al. 2018, arXiv:1709.01507).

    The means come from a pooling of fixed size, for which onnxruntime has an integer kernel; adaptive pooling has none.

    Args:
        channels: Number of channels.
        side: Height and width of the features.
        reduction: Divisor of the channels between the gate's two layers.
    """

    def __init__(self, channels: int, side: int, reduction: int = 8) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AvgPool2d(side),
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns the gated features; argument and result are float32 ``[N, channels, side, side]``."""
        gated: Tensor = features * self.gate(features)
        return gated


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al. 2016, arXiv:1512.03385).

    The shortcut is the identity, or a 1×1 convolution if the number of channels or the size changes.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        side: Height and width of the features, for squeeze-and-excitation after the convolutions; None: without it.
        stride: Divisor of height and width.
    """

    def __init__(self, inputs: int, outputs: int, side: int | None = None, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *conv_bn_relu(inputs, outputs, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if side:
            self.residual.append(SqueezeExcitation(outputs, side))
        self.shortcut = nn.Sequential()
        if inputs != outputs or stride > 1:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Maps float32 ``[N, inputs, H, W]`` to ``[N, outputs, H, W]``, or to half the size with a stride of 2."""
        return torch.relu(self.residual(features) + self.shortcut(features))
