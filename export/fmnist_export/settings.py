"""Settings of the export and limits of its gate, with their defaults.

This module imports no large library, so that ``--help`` is fast.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fmnist_train.run_options import DataOptions
from fmnist_train.settings import check_settings, setting

__all__ = ["CALIBRATIONS", "TARGETS", "ExportOptions", "Limits", "QuantizationSettings"]


CALIBRATIONS = ("minmax", "percentile", "entropy")
"""Methods by which onnxruntime chooses the range of an activation."""
TARGETS = {"portable": 64, "vnni": 127}
"""Largest magnitude of an integer weight by target: 7 or 8 bits. ``vnni`` is for Arm, and for processors with VNNI."""

_INT8, _GATE, _FILES = "Int8 model", "Limits of int8 against PyTorch", "Files"
"""Titles of the help panels."""


@dataclass(frozen=True)
class Limits:
    """Limits of the gate, on the test images."""

    max_logit_difference: float = 1e-4
    """Largest difference of a float logit from PyTorch, relative to the larger of 1 and the logit."""
    max_drop: float = setting(0.2, "Percentage points of accuracy that int8 may lose.", panel=_GATE, show_default=True)
    max_class_drop: float = setting(
        2.0,
        "Percentage points that the worst class of int8 may lose, where the loss is significant.",
        panel=_GATE,
        show_default=True,
    )
    min_agreement: float = setting(
        0.985,
        "Share of test images for which int8 must give PyTorch's class.",
        panel=_GATE,
        ge=0,
        le=1,
        show_default=True,
    )
    max_latency_ratio: float = setting(
        1.0,
        "Limit of the ratio of int8 to float latency on this machine; 0: not measured.",
        panel=_GATE,
        ge=0,
        show_default=True,
    )
    max_half_difference: float = 0.03
    """Largest relative difference of a float16 logit: weights and activations have 11 significant bits."""
    min_half_agreement: float = 0.999
    """Share of images for which float16 must give PyTorch's class."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class QuantizationSettings:
    """Settings of the int8 quantization."""

    target: str = setting(
        "portable",
        "Processors for which the model is made: all (7-bit weights), or those with VNNI (8-bit weights).",
        panel=_INT8,
        choices=tuple(TARGETS),
        show_default=True,
    )
    calibration: str = setting(
        "minmax", "Method for choosing activation ranges.", panel=_INT8, choices=CALIBRATIONS, show_default=True
    )
    images: int = setting(
        4096,
        "Number of training images for the calibration.",
        panel=_INT8,
        names=("--calibration-images",),
        ge=1,
        show_default=True,
    )
    refine: bool = True
    """Whether channels are equalized before, and the rounding is fitted after (``equalize.py``, ``rounding.py``)."""
    seed: int = 0
    """Seed of the choice of calibration images."""
    float_layers: tuple[str, ...] = ()
    """Layers that stay in float, by their names in ``graph.layers``."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of an integer weight."""
        return TARGETS[self.target]


@dataclass(frozen=True, kw_only=True)
class ExportOptions(DataOptions):
    """What to export, and the limits of its gate."""

    quantization: QuantizationSettings = field(default_factory=QuantizationSettings)
    """Settings of the int8 model."""
    limits: Limits = field(default_factory=Limits)
    """Limits of the gate."""
    output: Path | None = setting(
        None, "Folder of the models.", panel=_FILES, names=("--output", "-o"), show_default="export/ in the run"
    )
    quantize: bool = setting(False, "Also write an int8 model.", panel=_INT8, names=("--quantize", "--quantise"))
    rescue: bool = setting(
        False,
        "If the int8 model fails, try other calibrations, then the worst layers in float, then fine-tuning.",
        panel=_INT8,
    )
    half: bool = setting(
        False, "Also write a float16 model: half the size, no faster on x86-64.", panel=_FILES, names=("--fp16",)
    )
    ort: bool = setting(False, "Also write the models in onnxruntime's ORT format (.ort).", panel=_FILES)
    evidence: bool = setting(False, "Also write checkpoint, metrics, history, plots and a model card.", panel=_FILES)
    reject_score: str = "certainty"
    """Score of the reject option, a key of ``SCORES``."""
