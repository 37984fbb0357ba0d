"""``fmnist-infer models``: the embedded models, described from the metadata in their files."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.model_file.store import DEFAULT_MODEL, embedded_models

__all__ = ["ModelDescription", "describe_models", "format_models"]


_MACS = "MACs: multiplications of one image in the int8 file, with the zeros that it adds to the first layer"
"""Line below the table: docs/models.md states the smaller figures of the float files."""


class ModelDescription(NamedTuple):
    """One embedded model.

    Attributes:
        name: Name for ``--model``.
        bytes: Size of the file.
        parameters: Number of weights.
        macs: Multiply-accumulate operations for one image in this file's graph, with the zero weights of an int8 file.
        precision: ``int8`` or ``float32``.
        accuracy: Share of the test images that this file classifies correctly (0..1).
        photo_share: Share of training images augmented to look like photos (0..1).
        learned_photos: Whether the last phase of its training used photos.
        good_for: Reasons to choose this model, derived from a comparison with the other models.
    """

    name: str
    bytes: int
    parameters: int
    macs: int
    precision: str
    accuracy: float
    photo_share: float
    learned_photos: bool
    good_for: str = ""


def describe_models() -> list[ModelDescription]:
    """Returns the embedded models, largest first."""
    found = [
        _describe(name, path.stat().st_size, Classifier.load(path).metadata.document)
        for name, path in embedded_models().items()
    ]
    found.sort(key=lambda model: -model.bytes)
    return [model._replace(good_for=_good_for(model, found)) for model in found]


def format_models(models: list[ModelDescription]) -> str:
    """Returns a text table, one row for each model, and what its MACs count."""
    head = f"{'model':<15} {'file':>7} {'parameters':>10} {'MACs':>7} {'test accuracy':>13}  good for"
    return "\n".join([head, *map(_row, models), _MACS])


def _row(model: ModelDescription) -> str:
    size, macs = f"{model.bytes / 1e3:.0f} kB", f"{model.macs / 1e6:.1f}M"
    return f"{model.name:<15} {size:>7} {model.parameters:10,} {macs:>7} {model.accuracy:13.2%}  {model.good_for}"


def _describe(name: str, size: int, document: Mapping[str, Any]) -> ModelDescription:
    model, precision = document["model"], document["precision"]
    recipe = document["training"]["recipe"]
    return ModelDescription(
        name=name,
        bytes=size,
        parameters=model["parameters"],
        macs=model["macs"],
        precision=precision,
        accuracy=document["accuracy"][precision]["accuracy"],
        photo_share=recipe.get("augmentation", {}).get("photo", 0.0),
        learned_photos=recipe.get("photo_share", 0.0) > 0,
    )


def _good_for(model: ModelDescription, models: list[ModelDescription]) -> str:
    reasons = []
    if model.name == DEFAULT_MODEL:
        reasons.append("the default")
    reasons.append("photos" if model.learned_photos else "images like Fashion-MNIST")
    if model.accuracy == max(each.accuracy for each in models):
        reasons.append("highest test accuracy")
    if model.bytes == min(each.bytes for each in models):
        reasons.append("smallest file, fewest operations")
    return "; ".join(reasons)
