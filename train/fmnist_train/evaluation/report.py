"""One HTML file that tells all about an evaluation; it needs no network, no script and nothing beside it."""

import base64
import io
import string
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fmnist_train.evaluation.occlusion import overlay
from fmnist_train.files import write_atomically

__all__ = ["Mistake", "Report", "write_report"]

_TEMPLATE = Path(__file__).with_name("report.html")
_ZOOM = 4
_STRONG = 0.45
"""From this depth of a cell's colour on, its text is turned."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction, and where the model looked."""

    image: np.ndarray
    """uint8 ``[28, 28]``."""
    contribution: np.ndarray
    """float ``[28, 28]``, from ``occlusion_maps``."""
    label: int
    probabilities: np.ndarray
    """float ``[classes]``."""


@dataclass(frozen=True)
class Report:
    """What a report says."""

    title: str
    subtitle: str
    sha256: str
    metrics: dict[str, Any]
    """From ``classification_metrics``."""
    text: str
    """scikit-learn's classification report."""
    reliability_png: bytes
    mistakes: Sequence[Mistake]


def write_report(report: Report, path: Path) -> None:
    """Write the report as one self-contained HTML file, atomically."""
    metrics = report.metrics
    names = [row["label"] for row in metrics["per_class"]]
    page = string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        sha256=escape(report.sha256),
        figures=_figures(metrics),
        classes=_classes(metrics["per_class"], metrics["macro"]),
        matrix=_matrix(np.array(metrics["confusion_matrix"]), names),
        pairs=_pairs(metrics["most_confused"]),
        reliability=_data_uri(report.reliability_png),
        mistakes="".join(_mistake(mistake, names) for mistake in report.mistakes) or "<p>None.</p>",
        report=escape(report.text),
    )
    write_atomically(path, page)


def _figures(metrics: dict[str, Any]) -> str:
    low, high = metrics["accuracy_interval"]
    figures = (
        ("Accuracy", f"{metrics['accuracy']:.2%}", f"95% interval {low:.2%} to {high:.2%}"),
        ("Right", f"{metrics['correct']:,}", f"of {metrics['images']:,} images"),
        ("Macro F1", f"{metrics['macro']['f1']:.4f}", "mean over the classes"),
        ("Loss", f"{metrics['loss']:.4f}", "cross-entropy of the logits"),
        ("Calibration error", f"{metrics['ece']:.2%}", f"15 bins, temperature {metrics['temperature']:.3g}"),
    )
    return "".join(
        f'<div class="figure"><span class="soft">{name}</span><b>{value}</b><small>{note}</small></div>'
        for name, value, note in figures
    )


def _classes(rows: Sequence[dict[str, Any]], macro: dict[str, float]) -> str:
    def line(name: str, scores: dict[str, float], support: str) -> str:
        cells = "".join(
            f'<td class="number bar" style="--share: {scores[key]:.1%}">{scores[key]:.4f}</td>'
            for key in ("precision", "recall", "f1")
        )
        return f'<tr><th>{escape(name)}</th>{cells}<td class="number">{support}</td></tr>'

    head = "".join(f'<th class="number">{name}</th>' for name in ("precision", "recall", "F1", "images"))
    body = "".join(line(row["label"], row, f"{row['support']:,}") for row in rows) + line("mean", macro, "")
    return f'<table class="list"><thead><tr><th>class</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _matrix(matrix: np.ndarray, names: Sequence[str]) -> str:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def cell(count: int, share: float) -> str:
        depth = 0.9 * share**0.5  # the root lets the mistakes, a few percent each, be seen
        strong = ' class="strong"' if depth > _STRONG else ""
        text = f"{count:,}<small>{share:.1%}</small>" if count else ""
        return f'<td{strong} style="--share: {depth:.3f}">{text}</td>'

    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
    lines = (
        f"<tr><th>{escape(name)}</th>{''.join(map(cell, counts.tolist(), row.tolist()))}</tr>"
        for name, counts, row in zip(names, matrix, shares, strict=True)
    )
    return f'<table class="matrix"><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _pairs(pairs: Sequence[dict[str, Any]]) -> str:
    if not pairs:
        return "<p>None.</p>"
    lines = (
        f"<tr><td>{escape(pair['label'])}</td><td>{escape(pair['predicted'])}</td>"
        f'<td class="number">{pair["count"]:,}</td><td class="number">{pair["share"]:.1%}</td></tr>'
        for pair in pairs
    )
    head = '<th>true</th><th>said</th><th class="number">images</th><th class="number">of the class</th>'
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _mistake(mistake: Mistake, names: Sequence[str]) -> str:
    top = np.argsort(-mistake.probabilities, kind="stable")[:3]
    picture, looked = _picture(mistake.image), _picture(overlay(mistake.image, mistake.contribution), smooth=True)
    answers = "".join(_answer(names[i], float(mistake.probabilities[i]), i == mistake.label) for i in top)
    true = escape(names[mistake.label])
    return (
        f'<div class="mistake"><figure><img class="pixels" alt="{true}" src="{picture}">'
        f'<img alt="where the model looked" src="{looked}"></figure>true: <b class="right">{true}</b>{answers}</div>'
    )


def _answer(name: str, probability: float, right: bool) -> str:
    mark = ' class="right key"' if right else ""
    value = f"<span>{probability:.1%}</span>"
    return f'<div class="answer" style="--share: {probability:.1%}"><span{mark}>{escape(name)}</span>{value}</div>'


def _picture(pixels: np.ndarray, smooth: bool = False) -> str:
    image = Image.fromarray(pixels)
    if smooth:
        image = image.resize((image.width * _ZOOM, image.height * _ZOOM), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
