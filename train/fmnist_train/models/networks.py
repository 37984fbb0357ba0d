"""The networks, one function each.

Every network maps pixels ``[N, 1, 28, 28]`` (uint8, or float in 0..255) to logits, float32 ``[N, classes]``. Docstrings state
the shapes of features without the batch axis, and the numbers of parameters for ten classes.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.models.layers import Normalize, ResidualBlock, Resize, conv_bn_relu
from fmnist_train.settings import show_number

__all__ = [
    "batchnorm",
    "best",
    "custom",
    "fashion",
    "feedforward",
    "hybrid",
    "improved",
    "residual",
    "resnet",
    "simple",
]

_WIDEST = 65_536
"""Largest number of channels or units; a larger one is a typing error."""
_LEAST_PROJECTED = 8
"""Smallest number of channels before a 1×1 convolution with a stride of 2. With 2 to 7, its gradient in PyTorch 2.14 writes
beyond its memory on processors with AVX2 alone, if the channels are the last axis."""
_MOST_BLOCKS = 100
"""Largest number of residual blocks at one resolution; a larger one is a typing error."""


def improved(classes: int = 10, spatial_dropout: float = 0.25, head_dropout: float = 0.5) -> nn.Sequential:
    """Five 3×3 convolutions in three blocks, then a dense head; 437,162 parameters, 22M MACs.

    Features are ``[32, 28, 28]``, ``[64, 14, 14]``, ``[128, 7, 7]``, and after the last pooling ``[128, 3, 3]``.

    Args:
        classes: Number of logits.
        spatial_dropout: Probability of dropping a channel after each block, 0..1.
        head_dropout: Probability of dropping a unit before the last layer, 0..1.
    """
    return nn.Sequential(
        *_two_blocks(spatial_dropout),
        *conv_bn_relu(64, 128),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
        nn.Flatten(),
        nn.Linear(1152, 256, bias=False),
        nn.BatchNorm1d(256),
        nn.ReLU(inplace=True),
        nn.Dropout(head_dropout),
        nn.Linear(256, classes),
    )


def batchnorm(classes: int = 10) -> nn.Sequential:
    """Two 5×5 convolutions on pixels in 0..1, with batch norm after every layer; 18,494 parameters.

    The image is resized to ``[1, 16, 16]``; features are ``[16, 16, 16]`` and ``[32, 8, 8]``, and after the last pooling
    ``[32, 4, 4]``.
    """

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 5, padding=2)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return nn.Sequential(
        Normalize(mean=0, std=255),
        Resize(16),
        *block(1, 16),
        *block(16, 32),
        nn.Flatten(),
        nn.Linear(512, classes),
        nn.BatchNorm1d(classes),
    )


def best(classes: int = 10, spatial_dropout: float = 0.05, head_dropout: float = 0.3) -> nn.Sequential:
    """The first four convolutions of ``improved``, then a residual block in place of the large dense layer.

    It has 435,882 parameters and 36M MACs. Features are ``[32, 28, 28]``, ``[64, 14, 14]`` and ``[128, 7, 7]``.

    Args:
        classes: Number of logits.
        spatial_dropout: Probability of dropping a channel after the first two blocks, 0..1.
        head_dropout: Probability of dropping a feature before the last layer, 0..1.
    """
    return nn.Sequential(
        *_two_blocks(spatial_dropout),
        *conv_bn_relu(64, 128),
        ResidualBlock(128, 128),
        nn.AvgPool2d(7),
        nn.Flatten(),
        nn.Dropout(head_dropout),
        nn.Linear(128, classes),
    )


def fashion(classes: int = 10) -> nn.Sequential:
    """Two 3×3 convolutions and two dense layers on pixels in -1..1; 421,642 parameters.

    Features are ``[32, 28, 28]`` and ``[64, 14, 14]``, and after the last pooling ``[64, 7, 7]``.
    """
    return nn.Sequential(
        Normalize(mean=127.5, std=127.5),
        *_conv_relu_pool(1, 32),
        *_conv_relu_pool(32, 64),
        nn.Flatten(),
        nn.Linear(3136, 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, classes),
    )


def feedforward(classes: int = 10, hidden: Sequence[int] = (512, 256, 128), dropout: float = 0.3) -> nn.Sequential:
    """Dense layers on the flattened pixels, each with batch norm, ReLU and dropout; 568,330 parameters.

    Args:
        classes: Number of logits.
        hidden: Units of each hidden layer.
        dropout: Probability of dropping a unit, at least 0 and below 1.

    Raises:
        ConfigError: A width is not from 1 to 65,536, or the dropout is out of range.
    """
    _check_widths("hidden", hidden)
    _check_dropout(dropout)
    return nn.Sequential(Normalize(), nn.Flatten(), *_dense_head(IMAGE_SIZE**2, hidden, classes, dropout=dropout))


def hybrid(classes: int = 10, dropout: float = 0.2) -> nn.Sequential:
    """Three residual blocks with squeeze-and-excitation, global average pooling, one dense layer; 369,930 parameters.

    Features are ``[32, 28, 28]``, ``[64, 14, 14]`` and ``[128, 7, 7]``.

    Args:
        classes: Number of logits.
        dropout: Probability of dropping a feature before the last layer, 0..1.
    """
    return nn.Sequential(
        Normalize(),
        *conv_bn_relu(1, 32),
        nn.MaxPool2d(2),
        ResidualBlock(32, 64, side=14),
        ResidualBlock(64, 64, side=14),
        nn.MaxPool2d(2),
        ResidualBlock(64, 128, side=7),
        nn.AvgPool2d(7),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(128, classes),
    )


def residual(classes: int = 10, widths: Sequence[int] = (32, 64, 120), dropout: float = 0.0) -> nn.Sequential:
    """A small residual network with a residual block at each of the two lower resolutions.

    Strides of 2 halve the resolution. The full resolution has only one convolution, because a layer costs most time there.
    The recipes ``improved-lite``, ``micro`` and ``nano`` are sizes of this network.

    Args:
        classes: Number of logits.
        widths: Channels at 28×28, 14×14 and 7×7.
        dropout: Probability of dropping a feature before the last layer, at least 0 and below 1.

    Raises:
        ConfigError: There are not three widths, a width is not from 1 to 65,536, or the dropout is out of range.
    """
    _check_widths("widths", widths)
    _check_dropout(dropout)
    if len(widths) != 3:
        raise ConfigError(f"--widths must be three numbers, as in 32,64,120; not {list(widths)}")
    full, half, quarter = widths
    return nn.Sequential(
        Normalize(),
        *conv_bn_relu(1, full),
        *conv_bn_relu(full, half, stride=2),
        ResidualBlock(half, half),
        *conv_bn_relu(half, quarter, stride=2),
        ResidualBlock(quarter, quarter),
        nn.AvgPool2d(7),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(quarter, classes),
    )


def resnet(
    classes: int = 10,
    widths: Sequence[int] = (24, 48, 96),
    blocks: Sequence[int] = (1, 2, 2),
    dropout: float = 0.0,
) -> nn.Sequential:
    """A residual network with blocks at all three resolutions, as for CIFAR-10 (He et al. 2016, arXiv:1512.03385).

    It has 381,778 parameters and 37M MACs. The first block of each lower resolution has a stride of 2.

    Args:
        classes: Number of logits.
        widths: Channels at 28×28, 14×14 and 7×7.
        blocks: Number of residual blocks at each resolution.
        dropout: Probability of dropping a feature before the last layer, at least 0 and below 1.

    Raises:
        ConfigError: There are not three widths or not three numbers of blocks, or a value is out of range.
    """
    _check_widths("widths", widths)
    _check_dropout(dropout)
    if len(widths) != 3:
        raise ConfigError(f"--widths must be three numbers, as in 24,48,96; not {list(widths)}")
    if min(widths[:2]) < _LEAST_PROJECTED:
        raise ConfigError(
            f"--widths of resnet must be at least {_LEAST_PROJECTED} at 28 and 14 pixels, where PyTorch can crash in smaller "
            f"projections; not {list(widths)}"
        )
    if len(blocks) != 3 or not all(1 <= count <= _MOST_BLOCKS for count in blocks):
        raise ConfigError(f"--blocks must be three numbers from 1 to {_MOST_BLOCKS}, as in 1,2,2; not {list(blocks)}")
    inputs, layers = widths[0], list[nn.Module]()
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            layers.append(ResidualBlock(inputs, width, stride=2 if stage and not block else 1))
            inputs = width
    return nn.Sequential(
        Normalize(),
        *conv_bn_relu(1, widths[0]),
        *layers,
        nn.AvgPool2d(7),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(inputs, classes),
    )


def simple(classes: int = 10, dropout: float = 0.4) -> nn.Sequential:
    """Three 3×3 convolutions and two dense layers; 241,546 parameters.

    Features are ``[32, 28, 28]``, ``[64, 14, 14]`` and ``[128, 7, 7]``, and after the last pooling ``[128, 3, 3]``.

    Args:
        classes: Number of logits.
        dropout: Probability of dropping a unit before the last layer, 0..1.
    """
    return nn.Sequential(
        Normalize(),
        *_conv_relu_pool(1, 32),
        *_conv_relu_pool(32, 64),
        *_conv_relu_pool(64, 128),
        nn.Flatten(),
        nn.Linear(1152, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(128, classes),
    )


def custom(
    classes: int = 10,
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    dropout: float = 0.3,
    kernel: int = 3,
    batch_norm: bool = True,
) -> nn.Sequential:
    """A configurable stack of convolutions, each with ReLU and 2×2 pooling, and of dense layers.

    Args:
        classes: Number of logits.
        channels: Output channels of each convolution, at most four.
        hidden: Units of each hidden dense layer.
        dropout: Probability of dropping a unit after each hidden layer, at least 0 and below 1.
        kernel: Side of the convolutions in pixels, odd.
        batch_norm: Whether batch norm follows each convolution and each hidden layer.

    Raises:
        ConfigError: A width is not from 1 to 65,536, there are more than four convolutions, the kernel is even or larger than
            28, or the dropout is out of range.
    """
    _check_widths("channels", channels)
    _check_widths("hidden", hidden)
    _check_dropout(dropout)
    if len(channels) > 4:
        raise ConfigError(f"28 pixels can be halved four times, not {len(channels)}; give at most four --channels")
    if not 1 <= kernel <= IMAGE_SIZE or kernel % 2 == 0:
        raise ConfigError(f"--kernel must be odd, so that the size is kept, and under {IMAGE_SIZE}, not {kernel}")
    widths = [1, *channels]
    convolutions: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        if batch_norm:
            convolutions += [*conv_bn_relu(inputs, outputs, kernel), nn.MaxPool2d(2)]
        else:
            convolutions += _conv_relu_pool(inputs, outputs, kernel)
    features = widths[-1] * (IMAGE_SIZE >> len(channels)) ** 2
    head = _dense_head(features, hidden, classes, dropout=dropout, batch_norm=batch_norm)
    return nn.Sequential(Normalize(), *convolutions, nn.Flatten(), *head)


def _two_blocks(spatial_dropout: float) -> list[nn.Module]:
    """Returns the first layers of ``improved`` and ``best``: two convolutions at 28×28 and two at 14×14, pooling after both."""
    return [
        Normalize(),
        *conv_bn_relu(1, 32),
        *conv_bn_relu(32, 32),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
        *conv_bn_relu(32, 64),
        *conv_bn_relu(64, 64),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
    ]


def _conv_relu_pool(inputs: int, outputs: int, kernel: int = 3) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


def _dense_head(
    features: int, hidden: Sequence[int], classes: int, *, dropout: float, batch_norm: bool = True
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(features, width, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]
        features = width
    return [*layers, nn.Linear(features, classes)]


def _check_widths(what: str, widths: Sequence[int]) -> None:
    if any(not isinstance(width, int) or not 1 <= width <= _WIDEST for width in widths):
        raise ConfigError(f"--{what} must be whole numbers from 1 to {_WIDEST:,}, as in 32,64; not {list(widths)}")


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ConfigError(f"--dropout must be at least 0 and below 1, not {show_number(dropout)}")
