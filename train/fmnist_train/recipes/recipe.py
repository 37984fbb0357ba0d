"""The fields of a recipe, and what each means."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["MONITORS", "OPTIMISERS", "SCHEDULERS", "SEEN", "TARGETS", "Augmentation", "Recipe", "recipe_from_dict"]

OPTIMISERS = ("adam", "adamw", "sgd")
SCHEDULERS = ("plateau", "step", "cosine", "one-cycle", "none")
MONITORS = ("accuracy", "loss", "last")
TARGETS = ("indices", "one-hot", "soft")
SEEN = ("images", "views")


@dataclass(frozen=True)
class Augmentation:
    """Random changes to the training images; each default leaves the image alone (see ``augment.py``)."""

    rotation: float = 0.0
    """Largest rotation either way, degrees."""
    translation: float = 0.0
    """Largest shift either way, as a share of the side."""
    shift: int = 0
    """Largest shift either way in whole pixels, which leaves every value sharp."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the zoom factor."""
    flip: float = 0.0
    """Probability of a left-right mirror."""
    erase: float = 0.0
    """Probability that a random rectangle is replaced by noise (Zhong et al. 2017, arXiv:1708.04896)."""
    photo: float = 0.0
    """Probability that an image is changed the way a photograph would change it (see ``photo_augment.py``)."""
    outliers: float = 0.0
    """Made-up pictures of no garment added to each batch, as a share of it (see ``outliers.py``)."""
    mixup: float = 0.0
    """Probability that an image is blended with another one; only a teacher's answers fit such an image."""

    def __post_init__(self) -> None:
        for name in ("translation", "flip", "erase", "photo", "outliers", "mixup"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name} must be a share from 0 to 1, not {getattr(self, name):g}")
        if not 0 <= self.rotation <= 180:
            raise ConfigError(f"--rotation must be from 0 to 180 degrees, not {self.rotation:g}")
        if not 0 <= self.shift < IMAGE_SIZE:
            raise ConfigError(f"--shift must be from 0 to {IMAGE_SIZE - 1} pixels, not {self.shift}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            found = ",".join(f"{factor:g}" for factor in self.scale)
            raise ConfigError(f"--scale must be two factors over 0, the smaller first, as in 0.9,1.1; not '{found}'")


@dataclass(frozen=True)
class Recipe:
    """One training recipe. The defaults are those of plain Adam without any extras."""

    name: str
    model: str
    model_options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 50
    batch_size: int = 128
    optimiser: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    scheduler: str = "none"
    warmup: float = 0.0
    """Share of all steps in which the rate rises from 0 (cosine only)."""
    scheduler_patience: int = 5
    """Epochs without progress before ``plateau`` lowers the rate."""
    scheduler_factor: float = 0.5
    """What ``plateau`` and ``step`` multiply the rate with."""
    scheduler_step: int = 10
    """Epochs between two cuts of ``step``."""
    validation: float = 0.1
    """Share (below 1) or number of training images held out; 0 trains on everything."""
    monitor: str = "accuracy"
    """What chooses the best epoch and stops early: validation ``accuracy`` or ``loss``, or always the ``last`` epoch."""
    patience: int = 0
    """Early stopping after so many epochs without progress; 0 never stops early."""
    min_delta: float = 0.0
    """Progress smaller than this does not count."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes, 0 to below 1."""
    targets: str = "indices"
    """How the loss gets its targets: class ``indices``, ``one-hot`` rows, or ``soft`` rows, which mix pairs of images."""
    mix: float = 0.2
    """Of ``soft`` targets: both parameters of the beta distribution that draws the shares of a pair."""
    distillation: float = 0.0
    """Weight of a teacher's answers in the loss, 0 to 1; the labels have the rest (see ``teacher.py``)."""
    temperature: float = 2.0
    """What both logits are divided by before their probabilities are compared in distillation."""
    teacher: str = "teacher,hybrid"
    """Of distillation: the recipes whose finished runs teach, commas between, where no others are named."""
    teacher_sees: str = "images"
    """Of distillation: the ``images`` as they are, once, or all ``views`` of them, which costs a pass an epoch."""
    stored_views: int = 0
    """Changed copies of the training set that are drawn once, with the teachers' answers to them; epochs take them in
    rotation. The answers are cached and shared by all pupils. 0 draws anew at each step."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class in the loss; empty weighs all alike."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, by step; 0 keeps none."""
    gradient_clip: float = 0.0
    """Largest norm of the gradient; 0 never clips."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"--{name.replace('_', '-')} must be a number, not {value:g}")
        for value, known, what in (
            (self.optimiser, OPTIMISERS, "optimiser"),
            (self.scheduler, SCHEDULERS, "scheduler"),
            (self.monitor, MONITORS, "monitor"),
            (self.targets, TARGETS, "kind of targets"),
            (self.teacher_sees, SEEN, "thing that a teacher may see"),
        ):
            if value not in known:
                raise ConfigError(f"unknown {what} '{value}'; known: {', '.join(known)}")
        if self.epochs < 1 or self.batch_size < 2:
            raise ConfigError("epochs must be at least 1, and the batch size at least 2, for batch norm to have a mean")
        if not self.learning_rate > 0:
            raise ConfigError(f"the learning rate must be over 0, not {self.learning_rate:g}")
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.ema_decay < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("label smoothing, EMA decay and warm-up must be at least 0 and below 1")
        if min(self.weight_decay, self.momentum, self.gradient_clip, self.min_delta, self.patience) < 0:
            raise ConfigError("weight decay, momentum, gradient clip, min delta and patience cannot be negative")
        if any(not 0 <= weight < math.inf for weight in self.class_weights) or (
            self.class_weights and not any(self.class_weights)
        ):
            raise ConfigError("class weights must be at least 0 and finite, and one of them over 0")
        if not 0 <= self.distillation <= 1 or not self.temperature > 0:
            raise ConfigError("distillation is a weight from 0 to 1, and its temperature over 0")
        if self.distillation and self.targets == "soft" and self.teacher_sees == "images":
            raise ConfigError("a teacher that sees images alone knows no mixed pairs: set --teacher-sees views")
        if self.stored_views < 0 or (self.stored_views and not self._learns_from_views()):
            raise ConfigError("stored views need a teacher: set --distillation, and --teacher-sees views")
        if self.stored_views and self.targets == "soft":
            raise ConfigError(
                "stored views hold no answer to pairs that a step mixes: set --mixup in place of soft targets"
            )
        if self.stored_views and self.augmentation.photo:
            raise ConfigError("stored views hold no photographs: set --photo 0")
        if self.augmentation.mixup and not (self._learns_from_views() and self.distillation == 1):
            raise ConfigError("mixup has no labels of its own: set --distillation 1 and --teacher-sees views")
        if not self.mix > 0:
            raise ConfigError(f"mix must be over 0, not {self.mix:g}")
        if self.scheduler_patience < 0 or self.scheduler_step < 1 or not 0 < self.scheduler_factor < 1:
            raise ConfigError("the scheduler needs a patience from 0, a step from 1 and a factor between 0 and 1")
        if self.warmup and self.scheduler != "cosine":
            raise ConfigError(f"only the cosine scheduler warms up, not '{self.scheduler}': set --scheduler cosine")
        if self.validation < 0:
            raise ConfigError("validation must be a share below 1 or a number of images, not negative")
        if not self.validation and (self.patience or self.scheduler == "plateau"):
            raise ConfigError("early stopping and the plateau scheduler need a validation split: set --validation 0.1")

    def _learns_from_views(self) -> bool:
        return self.distillation > 0 and self.teacher_sees == "views"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy; ``recipe_from_dict`` is its inverse."""
        return dataclasses.asdict(self)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Rebuild a recipe that a run stored.

    Raises:
        ConfigError: an unknown field or an impossible value.
    """
    fields = dict(values)
    if fields.get("distillation"):
        fields.setdefault("teacher_sees", "views")  # as all teachers did before there was a choice
    try:
        augmentation = dict(fields.pop("augmentation"))
        augmentation["scale"] = tuple(augmentation["scale"])
        fields["class_weights"] = tuple(fields.get("class_weights", ()))
        return Recipe(**fields, augmentation=Augmentation(**augmentation))
    except (TypeError, KeyError) as error:
        raise ConfigError(f"a stored recipe cannot be read by this version: {error}") from error
