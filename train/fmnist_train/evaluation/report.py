"""One self-contained HTML file that describes an evaluation; it needs neither a network connection nor scripts.

The page is the Jinja2 template ``report.html``, which escapes every text. This module computes its tables and images.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from fmnist_runtime.files import write_atomically
from fmnist_train.evaluation.occlusion import overlay

__all__ = ["Mistake", "Report", "write_report"]

_TEMPLATE = Path(__file__).with_name("report.html")
_ZOOM = 4
"""Factor by which occlusion maps are enlarged, with interpolation; the browser enlarges the images themselves."""
_STRONG = 0.45
"""Depth of a cell's color, 0 to 1, above which its text is light. Below it, dark text has more contrast."""
_MOST_PROBABLE = 3
"""Classes shown beside each mistake."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction with its occlusion map."""

    image: np.ndarray
    """uint8 ``[28, 28]``."""
    contribution: np.ndarray
    """float ``[28, 28]``, from ``occlusion_maps``."""
    label: int
    """True class id."""
    probabilities: np.ndarray
    """float ``[classes]``."""


@dataclass(frozen=True)
class Report:
    """Content of a report."""

    title: str
    """Name of the model and of the data set."""
    subtitle: str
    """Format of the file, and number of test images."""
    sha256: str
    """SHA-256 of the model's file."""
    metrics: dict[str, Any]
    """Figures from ``classification_metrics``."""
    text: str
    """scikit-learn's classification report."""
    reliability_png: bytes
    """Reliability diagram as PNG."""
    mistakes: Sequence[Mistake]
    """Most confident mistakes, the first one most confident."""


def write_report(report: Report, path: Path) -> None:
    """Writes the report as one HTML file, atomically."""
    names = [row["label"] for row in report.metrics["per_class"]]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(_TEMPLATE.name).render(
        report=report,
        metrics=report.metrics,
        names=names,
        matrix=_matrix(np.array(report.metrics["confusion_matrix"])),
        reliability=_data_uri(report.reliability_png),
        mistakes=[_mistake(mistake, names) for mistake in report.mistakes],
    )
    write_atomically(path, page)


def _matrix(matrix: np.ndarray) -> list[list[dict[str, Any]]]:
    """Returns the cells of a confusion matrix.

    A cell has ``count``, ``share`` of the true class, ``depth`` of its color (0..1), and ``strong``: whether its text is
    light.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    depths = 0.9 * shares**0.5  # the root makes mistakes of a few percent visible
    return [
        [
            {"count": count, "share": share, "depth": depth, "strong": depth > _STRONG}
            for count, share, depth in zip(*row, strict=True)
        ]
        for row in zip(matrix.tolist(), shares.tolist(), depths.tolist(), strict=True)
    ]


def _mistake(mistake: Mistake, names: Sequence[str]) -> dict[str, Any]:
    top = np.argsort(-mistake.probabilities, kind="stable")[:_MOST_PROBABLE]
    return {
        "label": names[mistake.label],
        "image": _encode_image(mistake.image),
        "map": _encode_image(overlay(mistake.image, mistake.contribution), smooth=True),
        "top": [
            {"name": names[i], "probability": float(mistake.probabilities[i]), "correct": bool(i == mistake.label)}
            for i in top
        ],
    }


def _encode_image(pixels: np.ndarray, smooth: bool = False) -> str:
    image = Image.fromarray(pixels)
    if smooth:
        image = image.resize((image.width * _ZOOM, image.height * _ZOOM), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
