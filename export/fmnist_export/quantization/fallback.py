"""Where int8 loses too much: other calibrations, then layers in float, then fine-tuning, and the curve that was walked.

The walk looks at validation images. A candidate that passes there is put before the gate, with the test images, and the
first that passes both is taken; so the test images refuse, and do not choose.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import Form, Judge, Outcome
from fmnist_export.graph import layers
from fmnist_export.latency import compare_latency
from fmnist_export.quantization.equalize import equalise
from fmnist_export.quantization.qat import EPOCHS, tune
from fmnist_export.quantization.quantize import describe_calibration, quantise
from fmnist_export.quantization.sensitivity import worst_layer
from fmnist_export.settings import CALIBRATIONS, TARGETS, Quantisation

__all__ = ["Walk"]

_PROBES = 128
"""Calibration images that the noise of layers is measured on."""


class Walk:
    """From the first int8 form, which failed, to the first that passes."""

    def __init__(
        self,
        network: nn.Module,
        forms: Mapping[str, Form],
        images: np.ndarray,
        settings: Quantisation,
        judges: tuple[Judge, Judge],
        report: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        """Prepare.

        Args:
            network: what was quantised, raw pixels to logits.
            forms: by precision, ``float32`` and ``int8`` among them.
            images: uint8 ``[N, 28, 28]`` that calibrated int8.
            settings: how.
            judges: of validation and of test images.
            report: called with each row of the curve as it is reached.
        """
        self.network, self.forms, self.images, self.settings = network, forms, images, settings
        self.origin = forms["int8"].origin if "int8" in forms else None
        self.validation, self.test = judges
        self.report = report
        self.curve: list[dict[str, Any]] = []
        """What was tried: ``step``, ``accuracy`` and ``agreement`` on validation images, ``latency`` (of
        ``compare_latency``), ``bytes``, ``compressed``, ``faults`` there, and ``gate``: the faults on the test images, null
        where it was not asked."""

    def run(self) -> tuple[dict[str, Form], Outcome] | None:
        """The forms that pass, and the gate's outcome; None where no candidate does."""
        self._look("as asked", self.forms["int8"], gate=self.test(self.forms).faults)
        for step, form in self._candidates():
            outcome = self._look(step, form)
            if outcome is not None:
                return {**self.forms, "int8": form}, outcome
        return None

    def _candidates(self) -> Iterator[tuple[str, Form]]:
        """The walk; it goes on from whatever calibration has agreed best so far."""
        tried = {self.settings.calibration: self.forms["int8"]}
        for method in CALIBRATIONS:
            if method not in tried:
                tried[method] = self._quantise(dataclasses.replace(self.settings, calibration=method))
                yield f"calibration {method}", tried[method]
        agreed = [row["agreement"] for row in self.curve]
        method = list(tried)[agreed.index(max(agreed))]
        settings = dataclasses.replace(self.settings, calibration=method)
        yield from self._layers_in_float(settings, tried[method])
        yield "fine-tuned", self._tuned(settings)

    def _layers_in_float(self, settings: Quantisation, form: Form) -> Iterator[tuple[str, Form]]:
        """The worst layer in float, then the two worst, up to half of all: beyond that it is no int8 model any more."""
        model, probes = self.origin, self.images[:_PROBES]
        reference = equalise(model, self.images) if settings.refine else model
        for _ in range(len(layers(model)) // 2):
            layer = worst_layer(reference, form.model, probes, settings.float_layers)
            if layer is None:
                return
            settings = dataclasses.replace(settings, float_layers=(*settings.float_layers, layer))
            form = self._quantise(settings)
            yield f"{', '.join(settings.float_layers)} in float", form

    def _tuned(self, settings: Quantisation) -> Form:
        limit = 64 if TARGETS[settings.target] else 127
        temperature = self.validation.document["temperature"]
        tuned = tune(self.network, equalise(self.origin, self.images), self.images, limit)
        model = quantise(to_onnx(tuned, temperature), self.images, settings)
        about = {"epochs": EPOCHS, "aim": "the float network's logits of the calibration images"}
        return Form(model, {**describe_calibration(self.images, settings), "tuning": about}, self.origin)

    def _quantise(self, settings: Quantisation) -> Form:
        model = quantise(self.origin, self.images, settings)
        return Form(model, describe_calibration(self.images, settings), self.origin)

    def _look(self, step: str, form: Form, gate: list[str] | None = None) -> Outcome | None:
        """Measure a candidate and add it to the curve; the gate's outcome where it passes."""
        forms = {**self.forms, "int8": form}
        found = self.validation(forms)
        outcome = self.test(forms) if gate is None and not found.faults else None
        pair = [self.validation.load(precision, forms[precision]) for precision in ("float32", "int8")]
        data = form.model.SerializeToString()
        self.curve.append(
            {
                "step": step,
                "accuracy": found.accuracy["int8"]["accuracy"],
                "agreement": found.comparisons["int8"]["agreement"],
                "latency": found.latency or compare_latency(*pair, self.validation.split.images[0], rounds=10),
                "bytes": len(data),
                "compressed": len(zlib.compress(data, 9)),
                "faults": found.faults,
                "gate": outcome.faults if outcome else gate,
            }
        )
        self.report(self.curve[-1])
        return outcome if outcome and not outcome.faults else None
