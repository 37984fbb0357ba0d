"""The fields of a recipe, each with its help, range and option (see ``settings.py``)."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fmnist_runtime.errors import ConfigError
from fmnist_train.recipes.parts import SHARE, Augmentation
from fmnist_train.settings import LARGEST, Search, check_settings, setting, settings_of

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run except data and seed. The defaults are plain training with Adam.

    Raises:
        ConfigError: A value is outside its range, or values exclude each other.
    """

    name: str
    """Key in ``RECIPES``."""
    model: str = setting(dataclasses.MISSING, "Network by name.", panel="Network")
    model_options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network's constructor."""
    epochs: int = setting(50, "Largest number of epochs.", panel="Training", ge=1)
    batch_size: int = setting(128, "Images in a step; batch norm needs two.", panel="Training", ge=2)
    optimizer: str = setting(
        "adam",
        "Optimizer.",
        panel="Optimization",
        choices=("adam", "adamw", "muon", "sgd"),
        names=("--optimizer", "--optimiser"),
        stored="optimiser",
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate.",
        panel="Optimization",
        gt=0,
        names=("--learning-rate", "--lr"),
        search=Search(1e-4, 2e-2, log=True),
    )
    weight_decay: float = setting(
        0.0,
        "Decay of the weights.",
        panel="Optimization",
        ge=0,
        search=Search(1e-6, 0.2, log=True),
    )
    momentum: float = setting(
        0.9,
        "Momentum of sgd.",
        panel="Optimization",
        ge=0,
        le=1,
        search=Search(0.5, 0.99, used_by=lambda recipe: recipe.optimizer == "sgd"),
    )
    scheduler: str = setting(
        "none",
        "Learning-rate schedule.",
        panel="Optimization",
        choices=("plateau", "step", "cosine", "one-cycle", "none"),
    )
    warmup: float = setting(
        0.0,
        "Share of all steps in which the rate rises from 0 (cosine only).",
        panel="Optimization",
        ge=0,
        lt=1,
        search=Search(0.0, 0.3, used_by=lambda recipe: recipe.scheduler == "cosine"),
    )
    scheduler_patience: int = setting(
        5, "Epochs without progress before plateau lowers the rate.", panel="Optimization", ge=0
    )
    scheduler_factor: float = setting(
        0.5,
        "Factor of the learning rate at each reduction by plateau or step.",
        panel="Optimization",
        gt=0,
        lt=1,
        search=Search(0.1, 0.8, used_by=lambda recipe: recipe.scheduler in ("plateau", "step")),
    )
    scheduler_step: int = setting(10, "Epochs between two reductions by step.", panel="Optimization", ge=1)
    validation: float = setting(
        0.1,
        "Share (below 1) or number of training images held out; 0 trains on everything.",
        panel="Training",
        ge=0,
    )
    monitor: str = setting(
        "accuracy",
        "Validation figure by which the best epoch is chosen and training stops early (photos: the mean of both "
        "accuracies); or the last epoch.",
        panel="Training",
        choices=("accuracy", "loss", "photos", "last"),
    )
    patience: int = setting(
        0, "Epochs without progress before training stops early; 0 never stops early.", panel="Training", ge=0
    )
    min_delta: float = setting(0.0, "Smallest progress that counts.", panel="Training", ge=0)
    label_smoothing: float = setting(
        0.0,
        "Share of the target that is spread over all classes.",
        panel="Loss",
        ge=0,
        lt=1,
        search=Search(0.0, 0.2, used_by=lambda recipe: recipe.distillation < 1),
    )
    targets: str = setting(
        "indices",
        "Form of the targets: class indices, one-hot rows, or soft rows of mixed pairs of images.",
        panel="Loss",
        choices=("indices", "one-hot", "soft"),
    )
    mix: float = setting(
        0.2,
        "Both parameters of the beta distribution that draws the shares of a mixed pair.",
        panel="Loss",
        ge=0.01,  # PyTorch draws from another distribution below, in float32
        search=Search(0.1, 1.0, log=True, used_by=lambda recipe: recipe.targets == "soft"),
    )
    distillation: float = setting(
        0.0,
        "Weight of the teachers' outputs in the loss; the labels have the rest.",
        panel="Distillation",
        ge=0,
        le=1,
        search=Search(0.1, 1.0, used_by=lambda recipe: 0 < recipe.distillation < 1),
    )
    temperature: float = setting(
        2.0,
        "Divisor of both logits before their probabilities are compared.",
        panel="Distillation",
        gt=0,
        search=Search(1.0, 5.0, used_by=lambda recipe: recipe.distillation > 0),
    )
    teacher: str = setting(
        "teacher,hybrid",
        "Recipes whose finished runs are the teachers, separated by commas.",
        panel="",
    )
    stored_views: int = setting(
        0,
        "Number of changed copies of the training set that are drawn once and used in turn by the epochs; 0 draws at each "
        "step. All students share the teachers' cached outputs.",
        panel="Distillation",
        ge=0,
    )
    class_weights: tuple[float, ...] = setting(
        (), "Weight of each class in the loss, as in 1,1,2; empty: equal weights.", panel="Loss"
    )
    ema_decay: float = setting(
        0.0,
        "Decay of the exponential moving average of the weights, by step; 0 keeps none.",
        panel="Optimization",
        ge=0,
        lt=1,
        search=Search(0.9, 0.999, used_by=lambda recipe: recipe.ema_decay > 0),
    )
    gradient_clip: float = setting(0.0, "Largest norm of the gradient; 0 never clips.", panel="Optimization", ge=0)
    start: str = setting(
        "", "Recipe of the run with the first weights, which is also the teacher if no other is set.", panel=""
    )
    epoch_images: int = setting(
        0, "Training images in an epoch, drawn anew for each; 0 takes all.", panel="Training", ge=0
    )
    photo_share: float = setting(
        0.0, "Share of photos in each step, beside the batch of data set images.", panel="Photos", ge=0, lt=1
    )
    photo_views: int = setting(6, "Views made of each photo; the first is the photo unchanged.", panel="Photos", ge=1)
    photo_minimum: int = setting(
        0,
        "Classes with fewer photos get data set images pasted on photographed backgrounds, up to this number.",
        panel="Photos",
        ge=0,
    )
    photo_plain: int = setting(
        0, "Data set images of each class that are pasted on plain backgrounds, as in a shop.", panel="Photos", ge=0
    )
    photo_papers: int = setting(
        0, "Drawn sheets of paper among the photos that show none of the classes.", panel="Photos", ge=0
    )
    photo_balance: float = setting(
        0.0, "Balance of the kinds of photos: 0 draws all photos equally often, 1 all kinds.", panel="Photos", **SHARE
    )
    photo_distillation: float = setting(
        0.0,
        "Weight of the photo teachers' outputs in the loss of photos; the labels have the rest.",
        panel="Photos",
        **SHARE,
    )
    photo_teacher: str = setting(
        "",
        "Recipes whose finished runs are the teachers for photos and imitated photos, separated by commas.",
        panel="",
    )
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        check_settings(self)
        if any(not 0 <= weight <= LARGEST for weight in self.class_weights) or (
            self.class_weights and not any(self.class_weights)
        ):
            raise ConfigError("class weights must be at least 0 and finite, and one of them over 0")
        self._check_teacher()
        self._check_photos()
        if self.warmup and self.scheduler != "cosine":
            raise ConfigError(f"only the cosine scheduler warms up, not '{self.scheduler}': set --scheduler cosine")
        if not self.validation and (self.patience or self.scheduler == "plateau"):
            raise ConfigError("early stopping and the plateau scheduler need a validation split: set --validation 0.1")

    def _check_teacher(self) -> None:
        if self.stored_views and not self.distillation:
            raise ConfigError("stored views need a teacher: set --distillation")
        if self.stored_views and self.targets == "soft":
            raise ConfigError(
                "stored views have no teacher outputs for pairs that a step mixes: set --mixup in place of soft targets"
            )
        if self.augmentation.mixup and self.distillation < 1:
            raise ConfigError("mixup has no labels of its own: set --distillation 1")

    def _check_photos(self) -> None:
        if self.photo_distillation and not self.photo_share:
            raise ConfigError("teachers of photos need photos: set --photo-share")
        if self.monitor == "photos" and not self.photo_share:
            raise ConfigError("--monitor photos needs photos: set --photo-share, or another --monitor")

    def without_inputs(self) -> "Recipe":
        """Returns the recipe without the names of first weights and teachers, which options replace and versions rename."""
        return dataclasses.replace(self, start="", teacher="", photo_teacher="")

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready copy with the stored names of the fields; ``recipe_from_dict`` is the inverse."""
        stored = {name: documented.stored or name for name, documented in settings_of(self).items()}
        return {stored.get(name, name): value for name, value in dataclasses.asdict(self).items()}
