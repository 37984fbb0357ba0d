"""A tiny convolutional network that segments a photo, and the way from its mask to the classifier's input, with gradients.

The network takes the place of the color model in ``fmnist_runtime.preprocessing.segmentation``: log-odds of the foreground
at every second pixel of the working image. Components, doubling, crop, tones and resizing are those of the runtime.
"""

from collections.abc import Callable

import fmnist_runtime  # noqa: F401 (before onnxruntime: turns off its telemetry)

# isort: split

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_export.convert import OPSET, fold_batch_norm, strip_build_details
from fmnist_export.quantization.quantize import quantize
from fmnist_export.settings import QuantizationSettings
from fmnist_runtime.model_file.session import open_session
from fmnist_runtime.preprocessing.array_ops import Array, percentile, positive_at_double, to_lab
from fmnist_runtime.preprocessing.background import fit_background, geometry_of
from fmnist_runtime.preprocessing.parameters import PARAMETERS
from fmnist_runtime.preprocessing.segmentation import _main_components, segment
from fmnist_runtime.spec import IMAGE_SIZE, PIXEL_MEAN
from fmnist_train.models import count_macs
from fmnist_train.models.layers import Normalize, ResidualBlock, conv_bn_relu

__all__ = [
    "HALF",
    "SIDE",
    "Segment",
    "SegmentationNetwork",
    "canvas",
    "classifier_inputs",
    "int8_log_odds",
    "macs",
    "segmentations",
    "to_int8",
]

SIDE = 128
"""Side of the network's input, pixels: the working size of the runtime. Shorter sides are padded."""
HALF = SIDE // 2
"""Side of its output."""
Segment = Callable[[Array], tuple[Array, bool]]
"""A segmentation as ``segment`` of the runtime: working image to mask, and whether a person must be removed from it."""
_TONE = PARAMETERS.tone
_PLAIN = PARAMETERS.plain


class _Up(nn.Module):
    """Doubles the resolution by a 1×1 convolution to four pixels each, and adds a projection of finer features."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(coarse, 4 * outputs, 1, bias=False), nn.BatchNorm2d(4 * outputs))
        self.side = nn.Sequential(nn.Conv2d(fine, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.outputs = outputs

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        height, width = coarse.shape[2:]
        pixels = self.up(coarse).reshape(-1, self.outputs, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        return torch.relu(pixels.reshape(-1, self.outputs, 2 * height, 2 * width) + self.side(fine))


class SegmentationNetwork(nn.Module):
    """An encoder to 4×4 and a decoder to 64×64 with lateral connections. 207,000 weights, 25M MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.down = nn.ModuleList(
            nn.Sequential(*conv_bn_relu(inputs, outputs, stride=2), *deeper)
            for inputs, outputs, deeper in (
                (3, 16, []),
                (16, 24, []),
                (24, 40, conv_bn_relu(40, 40)),
                (40, 64, [ResidualBlock(64, 64)]),
                (64, 64, []),
            )
        )
        self.up = nn.ModuleList([_Up(64, 64, 64), _Up(64, 40, 24), _Up(24, 24, 16), _Up(16, 16, 8)])
        self.after = nn.ModuleList(
            [nn.Identity(), nn.Sequential(*conv_bn_relu(24, 24)), nn.Sequential(*conv_bn_relu(16, 16)), nn.Identity()]
        )
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Maps pixels ``[N, 1, 3 · 128, 128]``, one plane below the other, to log-odds ``[N, 1, 64, 64]``."""
        features = self.normalize(image).reshape(-1, 3, SIDE, SIDE)
        levels = []
        for block in self.down:
            features = block(features)
            levels.append(features)
        for up, after, fine in zip(self.up, self.after, reversed(levels[:-1]), strict=True):
            features = after(up(features, fine))
        logits: Tensor = self.head(features)
        return logits


def macs(network: nn.Module) -> int:
    """Returns the multiplications of one call."""
    return count_macs(network, (1, 3 * SIDE, SIDE))


def to_int8(network: nn.Module, images: Array) -> ModelProto:
    """Exports and quantizes with the tools of the export stage; ``images`` are calibration inputs ``[N, 384, 128]``."""
    folded = fold_batch_norm(network).to(memory_format=torch.contiguous_format)
    program = torch.onnx.export(
        folded,
        (torch.zeros(2, 1, 3 * SIDE, SIDE, dtype=torch.uint8),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("N")}},
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return quantize(strip_build_details(program.model_proto), images, QuantizationSettings(refine=False))


def canvas(rgb: Array) -> Array:
    """Pads a working image, uint8 ``[H, W, 3]``, and stacks its planes: uint8 ``[384, 128]``."""
    planes = np.full((3, SIDE, SIDE), PIXEL_MEAN, np.uint8)
    planes[:, : rgb.shape[0], : rgb.shape[1]] = rgb.transpose(2, 0, 1)
    return planes.reshape(3 * SIDE, SIDE)


def mask_of(log_odds: Array, shape: tuple[int, int]) -> Array:
    """Returns the main components of positive log-odds ``[64, 64]`` as boolean ``[H, W]``."""
    height, width = ((side + 1) // 2 for side in shape)
    log_odds = log_odds[:height, :width].copy()
    kept = _main_components(log_odds > 0, geometry_of((height, width)))
    log_odds[(log_odds > 0) & ~kept] = 0
    mask = positive_at_double(log_odds, shape)
    return mask if np.count_nonzero(mask) >= _PLAIN.min_share * mask.size else np.zeros_like(mask)


def int8_log_odds(model: ModelProto) -> Callable[[Array], Array]:
    """Returns the int8 network as a function from canvas to log-odds, float32 ``[64, 64]``."""
    session = open_session(model.SerializeToString(), threads=1, provider="cpu")

    def log_odds(image: Array) -> Array:
        result: Array = session.run(["logits"], {"image": image[None, None]})[0][0, 0]
        return result

    return log_odds


def is_plain(rgb: Array) -> bool:
    """Returns whether the color search takes the background for plain."""
    sample = to_lab(rgb[::2, ::2])
    return bool(fit_background(sample, geometry_of(sample.shape[1:])).spread < _PLAIN.max_spread)


def segmentations(log_odds: Callable[[Array], Array]) -> dict[str, Segment]:
    """Returns replacements of ``segment`` by name, all with one network."""

    def network(rgb: Array) -> tuple[Array, bool]:
        return mask_of(log_odds(canvas(rgb)), rgb.shape[:2]), False

    return {
        "network": network,
        "network, person removed on plain backgrounds": lambda rgb: (network(rgb)[0], is_plain(rgb)),
        "color search on plain backgrounds, else network": lambda rgb: segment(rgb) if is_plain(rgb) else network(rgb),
    }


def classifier_inputs(log_odds: Tensor, rgb: Array, sizes: Array) -> tuple[Tensor, Array]:
    """Computes the classifier's inputs like the runtime, with gradients of the mask (straight-through estimator).

    Args:
        log_odds: float ``[N, 64, 64]``.
        rgb: uint8 ``[N, 3, 128, 128]``.
        sizes: height and width of each photo, ``[N, 2]``.

    Returns:
        float32 ``[M, 1, 28, 28]`` in 0..255, and the positions of the M photos in which a garment was found.
    """
    doubled = _DOUBLE @ log_odds.float() @ _DOUBLE.T
    soft = torch.sigmoid(doubled)
    values = log_odds.detach().float().numpy()
    masks = np.zeros((len(values), SIDE, SIDE), np.float32)
    tones, found, resizing = [], [], []
    luma = rgb.transpose(0, 2, 3, 1).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    for number, (height, width) in enumerate(sizes.tolist()):
        mask = mask_of(values[number], (height, width))
        if not mask.any():
            continue
        masks[number, :height, :width] = mask
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        found.append(number)
        resizing.append(_resizing(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
        tones.append(_tones(luma[number], mask))
    hard = torch.from_numpy(masks)[found]
    through = hard + soft[found] - soft[found].detach()
    down, across = (torch.from_numpy(np.stack(each)) for each in zip(*resizing, strict=True))
    small = (down @ (torch.from_numpy(np.stack(tones)) * through) @ across.transpose(1, 2)).clamp(min=0)
    blurred = F.conv2d(F.pad(small[:, None], (1, 1, 1, 1), "replicate"), _GAUSSIAN)[:, 0]
    sharp = torch.where(small > 0, small + _TONE.sharpness * (small - blurred), 0).clamp(min=0)
    brightest = sharp.detach().amax(dim=(1, 2), keepdim=True).clamp(min=1)
    return (sharp * (255 / brightest))[:, None], np.array(found)


def _doubling() -> Tensor:
    """Returns the matrix ``[128, 64]`` of ``positive_at_double`` along one axis."""
    matrix = torch.zeros(SIDE, HALF)
    position = torch.arange(HALF)
    matrix[2 * position, position] = 1
    matrix[2 * position + 1, position] = 0.5
    matrix[2 * position + 1, (position + 1).clamp(max=HALF - 1)] += 0.5
    return matrix


_DOUBLE = _doubling()
_SIDE_WEIGHTS = torch.tensor([_TONE.gaussian[1], _TONE.gaussian[0], _TONE.gaussian[1]])
_GAUSSIAN = (_SIDE_WEIGHTS[:, None] * _SIDE_WEIGHTS)[None, None]


def _tones(luma: Array, mask: Array) -> Array:
    """Returns the tones that ``_map_tones`` of the runtime gives a garment, for every pixel: float32 ``[128, 128]``."""
    garment = luma[: mask.shape[0], : mask.shape[1]][mask]
    high, low = (255 - percentile(garment, share) for share in _TONE.percentiles)
    target_high = max(high, _TONE.high_min)
    target_low = max(min(low, target_high - _TONE.range_min), _TONE.floor)
    gain = min((target_high - target_low) / max(high - low, _TONE.flat), _TONE.gain_max)
    mapped = (255 - luma) * gain + (target_low + target_high) / 2 - gain * (low + high) / 2
    return mapped.clip(_TONE.floor_share * _TONE.floor, 255).astype(np.float32)


def _resizing(top: int, bottom: int, left: int, right: int) -> tuple[Array, Array]:
    """Returns the matrices ``[28, 128]`` that crop, resize and center along columns and rows, as Pillow's bicubic filter."""
    scale = IMAGE_SIZE / max(bottom - top, right - left)
    return _resample(top, bottom, scale), _resample(left, right, scale)


def _resample(begin: int, end: int, scale: float) -> Array:
    count = max(1, round((end - begin) * scale))
    step = (end - begin) / count
    width = max(step, 1)
    center = begin + (np.arange(count) + 0.5) * step
    distance = np.abs((np.arange(SIDE) + 0.5 - center[:, None]) / width)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    weights[:, :begin] = weights[:, end:] = 0
    matrix = np.zeros((IMAGE_SIZE, SIDE), np.float32)
    first = (IMAGE_SIZE - count) // 2
    matrix[first : first + count] = weights / weights.sum(axis=1, keepdims=True)
    return matrix
