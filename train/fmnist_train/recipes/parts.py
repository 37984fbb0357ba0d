"""Parts of a recipe with fields of their own: augmentation, and options of the network."""

import math
from dataclasses import dataclass
from typing import Any

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.settings import Search, check_settings, setting, show_number

__all__ = ["SHARE", "Augmentation", "NetworkOptions"]

SHARE = {"ge": 0, "le": 1, "wording": "a share {}"}
"""Limits of fields that are shares."""


def _draws_anew(recipe: Any) -> bool:
    """Returns whether a recipe draws its augmentation at each step, instead of using stored views."""
    return not recipe.stored_views


@dataclass(frozen=True)
class Augmentation:
    """Random changes to the training images; the defaults leave images unchanged (see ``augment.py``).

    Raises:
        ConfigError: A value is outside its range.
    """

    rotation: float = setting(
        0.0,
        "Largest rotation either way, degrees.",
        panel="Augmentation",
        ge=0,
        le=180,
        wording="{} degrees",
        search=Search(0.0, 20.0, used_by=_draws_anew),
    )
    translation: float = setting(
        0.0,
        "Largest shift either way, as a share of the side.",
        panel="Augmentation",
        **SHARE,
        search=Search(0.0, 0.15, used_by=_draws_anew),
    )
    shift: int = setting(
        0,
        "Largest shift either way in whole pixels, without interpolation.",
        panel="Augmentation",
        ge=0,
        le=IMAGE_SIZE - 1,
        wording="{} pixels",
        search=Search(0, 3, used_by=_draws_anew),
    )
    scale: tuple[float, float] = setting(
        (1.0, 1.0), "Range of the random zoom factor, as in 0.9,1.1.", panel="Augmentation"
    )
    flip: float = setting(
        0.0,
        "Probability of a left-right mirror.",
        panel="Augmentation",
        **SHARE,
        search=Search(0.0, 0.5, used_by=_draws_anew),
    )
    # Zhong et al. 2017, arXiv:1708.04896
    erase: float = setting(
        0.0,
        "Probability that a random rectangle becomes noise.",
        panel="Augmentation",
        **SHARE,
        search=Search(0.0, 0.6, used_by=_draws_anew),
    )
    photo: float = setting(
        0.0,
        "Probability that an image is changed to look photographed.",
        panel="Augmentation",
        **SHARE,
    )
    outliers: float = setting(
        0.0,
        "Number of synthetic images without a garment in each batch, as a share of its images.",
        panel="Augmentation",
        **SHARE,
    )
    mixup: float = setting(
        0.0,
        "Probability that an image is blended with another one; the targets are then the teachers' outputs.",
        panel="Augmentation",
        **SHARE,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            found = ",".join(map(show_number, self.scale))
            raise ConfigError(f"--scale must be two factors over 0, the smaller first, as in 0.9,1.1; not '{found}'")


@dataclass(frozen=True)
class NetworkOptions:
    """Constructor options that networks share; None leaves a network's own default (see ``networks.py``)."""

    channels: tuple[int, ...] | None = setting(None, "Convolutions of custom, as in 32,64.", panel="Network")
    hidden: tuple[int, ...] | None = setting(
        None, "Dense layers of custom and feedforward, as in 128.", panel="Network"
    )
    widths: tuple[int, ...] | None = setting(
        None,
        "Channels of residual and resnet on 28, 14 and 7 pixels, as in 32,64,120.",
        panel="Network",
    )
    blocks: tuple[int, ...] | None = setting(
        None, "Residual blocks of resnet on 28, 14 and 7 pixels, as in 1,2,2.", panel="Network"
    )
    dropout: float | None = setting(
        None,
        "Dropout of all networks but improved, best, batchnorm and fashion.",
        panel="Network",
    )
    kernel: int | None = setting(None, "Size of the convolutions of custom, odd.", panel="Network")
    batch_norm: bool | None = setting(
        None,
        "Batch norm in custom.",
        panel="Network",
        names=("--batch-norm/--no-batch-norm",),
    )
