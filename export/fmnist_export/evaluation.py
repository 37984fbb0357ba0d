"""Forms of a network, held against it on images: what the gate is asked, and what a file will be made of."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto
from torch import nn

from fmnist_export.gate import accuracy, compare, judge, run_all
from fmnist_export.latency import judge_latency
from fmnist_export.settings import Limits
from fmnist_export.stamp import stamp
from fmnist_runtime.classifier import Classifier
from fmnist_train.data.sources import Split
from fmnist_train.evaluation.inference import predict_logits

__all__ = ["FILES", "Form", "Judge", "Outcome", "about_file", "stage"]

FILES = {"float32": "model.onnx", "float16": "model.fp16.onnx", "int8": "model.int8.onnx"}


@dataclass(frozen=True, eq=False)
class Form:
    """One model on its way into a file."""

    model: ModelProto
    calibration: dict[str, Any] | None = None
    """What the metadata will say of how it was quantised."""
    origin: ModelProto | None = None
    """Of a quantised model, what it was in float; its tensors have the same names."""


@dataclass(frozen=True)
class Outcome:
    """What was found on one set of images; the keys are precisions, and ``pytorch`` among logits and accuracies."""

    logits: dict[str, np.ndarray]
    accuracy: dict[str, dict[str, Any]]
    comparisons: dict[str, dict[str, Any]]
    latency: dict[str, Any] | None
    faults: list[str]
    """Why they do not pass; empty where they do."""
    beyond_int8: bool
    """Whether the faults are not those of int8 alone."""


class Judge:
    """Asks the gate about forms of one network on one set of images; what it has computed it remembers."""

    def __init__(
        self, network: nn.Module, split: Split, document: Mapping[str, Any], limits: Limits, folder: Path
    ) -> None:
        """Take ``document``, the metadata that all forms share, and ``folder``, for files on the way."""
        self.split, self.document, self.limits, self.folder = split, document, limits, folder
        self._reference = predict_logits(network, split.images)
        self._loaded: dict[Form, Classifier] = {}
        self._logits: dict[Form, np.ndarray] = {}

    def __call__(self, forms: Mapping[str, Form]) -> Outcome:
        """Hold forms, by precision, against the network."""
        images, labels = self.split.images, self.split.labels
        logits = {"pytorch": self._reference}
        for precision, form in forms.items():
            if form not in self._logits:
                self._logits[form] = run_all(self.load(precision, form), images)
            logits[precision] = self._logits[form]
        comparisons = {p: compare(self._reference, logits[p], labels) for p in forms}
        latency = None
        if "int8" in forms and self.limits.max_latency_ratio is not None:
            pair = [self.load(precision, forms[precision]) for precision in ("float32", "int8")]
            latency = judge_latency(*pair, images[0], self.limits.max_latency_ratio)
        names = list(self.document["labels"])
        others = {p: found for p, found in comparisons.items() if p != "int8"}
        return Outcome(
            logits,
            {name: accuracy(values, labels) for name, values in logits.items()},
            comparisons,
            latency,
            judge(comparisons, self.limits, latency, names),
            bool(judge(others, self.limits)),
        )

    def load(self, precision: str, form: Form) -> Classifier:
        """The form as the runtime loads it."""
        if form not in self._loaded:
            self._loaded[form] = stage(self.folder / FILES[precision], form, precision, self.document)
        return self._loaded[form]


def stage(path: Path, form: Form, precision: str, document: Mapping[str, Any]) -> Classifier:
    """Write a form into a file, with its metadata, and load it as a device would."""
    path.write_bytes(stamp(form.model, {**document, "precision": precision, "calibration": form.calibration}))
    return Classifier.load(path)


def about_file(path: Path) -> dict[str, Any]:
    """``file``, ``bytes``, ``compressed`` (bytes after zlib, as a download would be) and ``sha256``."""
    data = path.read_bytes()
    return {
        "file": path.name,
        "bytes": len(data),
        "compressed": len(zlib.compress(data, 9)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
