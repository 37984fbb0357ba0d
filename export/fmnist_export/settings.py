"""Settings of the export and limits of its gate, with their defaults.

Nothing heavy is imported, so that the command's ``--help`` appears at once.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fmnist_runtime.errors import ConfigError

__all__ = ["CALIBRATIONS", "TARGETS", "Calibration", "ExportOptions", "Limits", "QuantizationSettings", "Target"]


class Calibration(StrEnum):
    """Methods by which onnxruntime chooses the range of an activation."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


class Target(StrEnum):
    """Processors that an int8 model is for."""

    PORTABLE = "portable"
    """All."""
    VNNI = "vnni"
    """Those with VNNI instructions, and Arm."""


CALIBRATIONS = tuple(each.value for each in Calibration)
"""Names of the calibrations."""
TARGETS = {Target.PORTABLE.value: 64, Target.VNNI.value: 127}
"""Largest magnitude of an integer weight by target: 7 bits or 8."""


@dataclass(frozen=True)
class Limits:
    """Limits of the gate, on the test images."""

    max_logit_difference: float = 1e-4
    """Largest difference of a float logit from PyTorch, relative to the larger of 1 and the logit."""
    max_drop: float = 0.2
    """Percentage points of accuracy that int8 may lose to PyTorch."""
    max_class_drop: float = 2.0
    """Percentage points that its worst class may lose, where the loss is significant."""
    min_agreement: float = 0.985
    """Share of images for which int8 must give PyTorch's class."""
    max_latency_ratio: float | None = 1.0
    """Median latency of int8 divided by that of float must be under this; None: not measured."""
    max_half_difference: float = 0.03
    """Largest relative difference of a float16 logit: weights and activations have 11 significant bits."""
    min_half_agreement: float = 0.999
    """Share of images for which float16 must give PyTorch's class."""


@dataclass(frozen=True)
class QuantizationSettings:
    """Settings of the int8 quantization."""

    target: str = "portable"
    """Key of ``TARGETS``."""
    calibration: str = "minmax"
    """One of ``CALIBRATIONS``."""
    images: int = 4096
    """Training images that decide the ranges of activations and the rounding of weights."""
    refine: bool = True
    """Whether channels are equalized before, and the rounding is fitted after (``equalize.py``, ``rounding.py``)."""
    seed: int = 0
    """Seed of the choice of calibration images."""
    float_layers: tuple[str, ...] = ()
    """Layers that stay in float, by their names in ``graph.layers``."""

    def __post_init__(self) -> None:
        for value, known, what in ((self.target, TARGETS, "target"), (self.calibration, CALIBRATIONS, "calibration")):
            if value not in known:
                raise ConfigError(f"unknown {what} '{value}'; known: {', '.join(known)}")
        if self.images < 1:
            raise ConfigError("calibration needs at least one image")

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of an integer weight."""
        return TARGETS[self.target]


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and the limits of its gate."""

    output: Path | None = None
    """Folder of the files; None: ``export`` in the run's folder."""
    quantize: bool = False
    """Whether an int8 model is written, too."""
    quantization: QuantizationSettings = field(default_factory=QuantizationSettings)
    """Settings of the int8 model."""
    limits: Limits = field(default_factory=Limits)
    """Limits of the gate."""
    half: bool = False
    """Whether a float16 model is written, too."""
    ort: bool = False
    """Whether the float32 and int8 models are written in onnxruntime's ORT format, too."""
    rescue: bool = False
    """Whether other ways to quantize are searched where int8 fails."""
    evidence: bool = False
    """Whether checkpoint, metrics, history, plots and a model card are put beside the models."""
    reject_score: str = "certainty"
    """Score of the reject option, a key of ``SCORES``."""
    data: str = "fashion-mnist"
    """Data set, as ``find_dataset`` takes it."""
    data_dir: Path | None = None
    """Folder of the data set's files; None: the usual places."""
