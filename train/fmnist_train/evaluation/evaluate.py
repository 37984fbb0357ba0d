"""Evaluation of a finished model, checkpoint or ONNX file, on the test split: figures, plots and one HTML report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import classification_report

from fmnist_runtime.console import counted, printable
from fmnist_runtime.errors import ConfigError, DataError
from fmnist_runtime.files import write_atomically
from fmnist_train.data.seen import report_seen
from fmnist_train.data.sources import DataSource, Split
from fmnist_train.data.splits import list_classes
from fmnist_train.evaluation.gallery import (
    Predictions,
    most_confident_mistakes,
    write_sample_predictions,
    write_worst_mistakes,
)
from fmnist_train.evaluation.metrics import classification_metrics, softmax
from fmnist_train.evaluation.occlusion import occlusion_maps
from fmnist_train.evaluation.plots import write_confusion_matrix, write_reliability_diagram
from fmnist_train.evaluation.predictor import Predictor, open_predictor
from fmnist_train.evaluation.report import Mistake, Report, write_report
from fmnist_train.files import read_object, refuse_replacing

__all__ = ["evaluate_model"]

_FILES = (
    "evaluation.json",
    "report.html",
    "classification_report.txt",
    "confusion_matrix.png",
    "reliability.png",
    "sample_predictions.png",
    "worst_mistakes.png",
)
_MISTAKES = 12
"""Number of mistakes in the report."""


def evaluate_model(path: Path | str, source: DataSource, output: Path) -> dict[str, Any]:
    """Tests a model, and writes figures, plots and a report.

    Args:
        path: A checkpoint (run folder, ``.safetensors``, ``.json``) or an ``.onnx`` file of the export.
        source: Data set; its test split is read.
        output: Folder for ``report.html``, ``evaluation.json``, ``classification_report.txt`` and the plots
            ``confusion_matrix.png``, ``reliability.png``, ``sample_predictions.png``, ``worst_mistakes.png``.

    Returns:
        The content of ``evaluation.json``: ``model``, ``kind``, ``sha256``, ``dataset``, and ``test``, the
        figures from ``classification_metrics``.

    Raises:
        ModelError, CheckpointError: The file cannot be read as a model.
        DataError: The classes of the model and of the data set differ.
        ConfigError: The folder has files of these names that no evaluation wrote, or the evaluation of another network,
            precision or data set.
    """
    model = open_predictor(path)
    if model.labels != source.labels:
        raise DataError(
            f"{path} has {list_classes(model.labels)}, but the data set '{source.name}' has "
            f"{list_classes(source.labels)}; name a data set of the model's classes with --data"
        )
    refuse_replacing(output, _FILES, mark="evaluation.json", keys=("sha256", "kind", "test"))
    what = {"model": model.name, "kind": model.kind, "dataset": source.name}
    _refuse_another_evaluation(output, what)
    test = source.load("test")
    report_seen(test, model.seen, source.origin)
    logits = model.logits(test.images)
    probabilities = softmax(logits, model.temperature)
    metrics = classification_metrics(logits, test.labels, model.labels, model.temperature)
    result = {**what, "sha256": model.sha256, "test": metrics}
    write_atomically(output / "evaluation.json", json.dumps(result, indent=2) + "\n")
    text = _classification_report(test, logits, model.labels)
    write_atomically(output / "classification_report.txt", text)
    write_confusion_matrix(np.array(metrics["confusion_matrix"]), model.labels, output / "confusion_matrix.png")
    _write_plots(Predictions(test.images, test.labels, probabilities, model.labels), output)
    report = Report(
        title=f"{model.name} on {source.name}",
        subtitle=f"{model.kind}, tested on {counted(len(test), 'image')}",
        sha256=model.sha256,
        metrics=metrics,
        text=text,
        reliability_png=(output / "reliability.png").read_bytes(),
        mistakes=_explain_mistakes(model, test, probabilities),
    )
    write_report(report, output / "report.html")
    return result


def _refuse_another_evaluation(output: Path, what: dict[str, str]) -> None:
    """Checks that only an evaluation of the same network on the same data set is replaced, as after a further training."""
    earlier = read_object(output / "evaluation.json")
    if earlier and any(earlier.get(key) != value for key, value in what.items()):
        model, kind, dataset = (printable(str(earlier.get(key))) for key in what)
        raise ConfigError(f"{output} has the evaluation of {model} ({kind}) on {dataset}: name another --output")


def _classification_report(test: Split, logits: np.ndarray, names: Sequence[str]) -> str:
    predicted = logits.argmax(axis=1)
    return str(
        classification_report(
            test.labels, predicted, labels=range(len(names)), target_names=names, digits=4, zero_division=0
        )
    )


def _write_plots(predictions: Predictions, output: Path) -> None:
    write_reliability_diagram(predictions.probabilities, predictions.labels, output / "reliability.png")
    write_sample_predictions(predictions, output / "sample_predictions.png")
    write_worst_mistakes(predictions, output / "worst_mistakes.png")


def _explain_mistakes(model: Predictor, test: Split, probabilities: np.ndarray) -> list[Mistake]:
    worst = most_confident_mistakes(probabilities, test.labels, _MISTAKES)
    wrong, chosen = test.take(worst), probabilities[worst]
    maps = occlusion_maps(model.logits, wrong.images, chosen.argmax(axis=1), wrong.labels)
    return [
        Mistake(image, contribution, int(label), row)
        for image, contribution, label, row in zip(wrong.images, maps, wrong.labels, chosen, strict=True)
    ]
