"""What can be asked of the export, and what is demanded of its result: all defaults stand here.

Nothing heavy is imported, so that the command's ``--help`` can show them at once.
"""

from dataclasses import dataclass

from fmnist_runtime.errors import ConfigError

__all__ = ["CALIBRATIONS", "TARGETS", "Limits", "Quantisation"]

CALIBRATIONS = ("minmax", "percentile", "entropy")
TARGETS = {"portable": True, "vnni": False}
"""Target by name, and whether it reduces weights to 7 bits. ``vnni`` is only for processors known to have it (or Arm)."""


@dataclass(frozen=True)
class Limits:
    """What the gate demands on the test images."""

    max_logit_difference: float = 1e-4
    """Of float ONNX to PyTorch, relative to the larger of 1 and the logit."""
    max_drop: float = 0.2
    """Percentage points of accuracy that a smaller model may lose to PyTorch."""
    max_class_drop: float = 2.0
    """Percentage points that its worst class may lose, where the loss is more than chance."""
    min_agreement: float = 0.985
    """Share of images that it must answer as PyTorch does."""
    max_latency_ratio: float | None = 1.0
    """Median latency of int8, divided by that of float on this machine, must be under this; None: not measured."""
    max_half_difference: float = 0.03
    """Of float16 to PyTorch, relative likewise: weights and activations have 11 significant bits."""
    min_half_agreement: float = 0.999
    """Share of images that float16 must answer as PyTorch does."""


@dataclass(frozen=True)
class Quantisation:
    """How to quantise."""

    target: str = "portable"
    calibration: str = "minmax"
    images: int = 4096
    """Training images that decide the ranges of activations and the rounding of weights."""
    refine: bool = True
    """Equalise channels before, fit the rounding after (see ``equalise.py``, ``rounding.py``)."""
    seed: int = 0
    float_layers: tuple[str, ...] = ()
    """Layers that stay in float, by the names that ``graph.layers`` gives."""

    def __post_init__(self) -> None:
        for value, known, what in ((self.target, TARGETS, "target"), (self.calibration, CALIBRATIONS, "calibration")):
            if value not in known:
                raise ConfigError(f"unknown {what} '{value}'; known: {', '.join(known)}")
        if self.images < 1:
            raise ConfigError("calibration needs at least one image")
