"""Search for an int8 model that passes the gate, if the plain one loses too much accuracy.

The candidates are other calibrations, then the worst layers in float, then fine-tuning. The search uses validation images. A
candidate that passes on them is checked by the gate on the test images, and the first that passes both is used. So the test
images reject candidates, but do not rank them.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import Evaluation, Evaluator
from fmnist_export.gate import gate_failures
from fmnist_export.graph import layers
from fmnist_export.latency import compare_latency
from fmnist_export.quantization.equalize import equalize
from fmnist_export.quantization.qat import EPOCHS, fine_tune
from fmnist_export.quantization.quantize import describe_calibration, quantize
from fmnist_export.quantization.sensitivity import worst_layer
from fmnist_export.settings import CALIBRATIONS, Limits, QuantizationSettings
from fmnist_export.variants import Variant

__all__ = ["FallbackSearch"]

_PROBES = 128
"""Number of calibration images on which the noise of layers is measured."""
_LATENCY_ROUNDS = 10
"""Rounds of a latency measurement that is only reported: half of the default."""


@dataclass
class FallbackSearch:
    """Search for an int8 model that passes the gate, after the first one failed."""

    network: nn.Module
    """Network that was quantized; raw pixels to logits."""
    variants: Mapping[str, Variant]
    """Models by precision, ``float32`` and ``int8`` among them."""
    images: np.ndarray
    """Calibration images of the int8 model, uint8 ``[N, 28, 28]``."""
    settings: QuantizationSettings
    """Settings of the int8 model."""
    validation: Evaluator
    """Evaluator on validation images."""
    test: Evaluator
    """Evaluator on test images."""
    limits: Limits
    """Limits on both."""
    labels: Sequence[str]
    """Class names for the messages."""
    temperature: float
    """Divisor of the logits."""
    report: Callable[[dict[str, Any]], None] = lambda row: None
    """Receives each row of ``curve`` as it is added."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """One row for each candidate: ``step``, ``accuracy`` and ``agreement`` on validation images, ``latency`` (see
    ``compare_latency``), ``bytes``, ``compressed``, ``faults`` (limits exceeded on validation images), and ``gate`` (those
    exceeded on test images; None where they were not used)."""

    @property
    def float_model(self) -> ModelProto:
        """Float model that was quantized."""
        model = self.variants["int8"].float_model
        if model is None:
            raise ValueError("the int8 variant lacks its float model")
        return model

    def run(self) -> tuple[dict[str, Variant], Evaluation] | None:
        """Returns variants that pass, with their figures on the test images; None where no candidate passes."""
        self._evaluate("as asked", self.variants["int8"], self._failures(self.test.evaluate(self.variants)))
        for step, variant in self._candidates():
            evaluation = self._evaluate(step, variant)
            if evaluation is not None:
                return {**self.variants, "int8": variant}, evaluation
        return None

    def _candidates(self) -> Iterator[tuple[str, Variant]]:
        """Yields candidates; those after the calibrations use the calibration with the highest agreement."""
        tried = {self.settings.calibration: self.variants["int8"]}
        for method in CALIBRATIONS:
            if method not in tried:
                tried[method] = self._quantize(dataclasses.replace(self.settings, calibration=method))
                yield f"calibration {method}", tried[method]
        agreed = [row["agreement"] for row in self.curve]
        method = list(tried)[agreed.index(max(agreed))]
        settings = dataclasses.replace(self.settings, calibration=method)
        yield from self._layers_in_float(settings, tried[method])
        yield "fine-tuned", self._fine_tuned(settings)

    def _layers_in_float(self, settings: QuantizationSettings, variant: Variant) -> Iterator[tuple[str, Variant]]:
        """Yields models with the worst layer in float, the two worst, and so on up to half of all layers."""
        model, probes = self.float_model, self.images[:_PROBES]
        reference = equalize(model, self.images) if settings.refine else model
        for _ in range(len(layers(model)) // 2):
            layer = worst_layer(reference, variant.model, probes, settings.float_layers)
            if layer is None:
                return
            settings = dataclasses.replace(settings, float_layers=(*settings.float_layers, layer))
            variant = self._quantize(settings)
            yield f"{', '.join(settings.float_layers)} in float", variant

    def _fine_tuned(self, settings: QuantizationSettings) -> Variant:
        equalized = equalize(self.float_model, self.images)
        tuned = fine_tune(self.network, equalized, self.images, settings.weight_limit)
        model = quantize(to_onnx(tuned, self.temperature), self.images, settings)
        tuning = {"epochs": EPOCHS, "aim": "the float network's logits of the calibration images"}
        return Variant(model, {**describe_calibration(self.images, settings), "tuning": tuning}, self.float_model)

    def _quantize(self, settings: QuantizationSettings) -> Variant:
        model = quantize(self.float_model, self.images, settings)
        return Variant(model, describe_calibration(self.images, settings), self.float_model)

    def _failures(self, evaluation: Evaluation) -> list[str]:
        return gate_failures(evaluation.comparisons, self.limits, evaluation.latency, self.labels)

    def _evaluate(self, step: str, variant: Variant, gate: list[str] | None = None) -> Evaluation | None:
        """Adds a candidate to the curve; returns its figures on the test images where it passes.

        Args:
            step: Name of the candidate.
            variant: The candidate.
            gate: Limits exceeded on the test images where that is known already.
        """
        variants = {**self.variants, "int8": variant}
        found = self.validation.evaluate(variants)
        failures, evaluation = self._failures(found), None
        if gate is None and not failures:
            evaluation = self.test.evaluate(variants)
            gate = self._failures(evaluation)
        data = variant.model.SerializeToString()
        self.curve.append(
            {
                "step": step,
                "accuracy": found.accuracy["int8"]["accuracy"],
                "agreement": found.comparisons["int8"]["agreement"],
                "latency": found.latency or self._latency(variants),
                "bytes": len(data),
                "compressed": len(zlib.compress(data, 9)),
                "faults": failures,
                "gate": gate,
            }
        )
        self.report(self.curve[-1])
        return None if gate else evaluation

    def _latency(self, variants: Mapping[str, Variant]) -> dict[str, float]:
        pair = self.validation.classifiers(variants)
        return compare_latency(*pair, self.validation.split.images[0], rounds=_LATENCY_ROUNDS)
