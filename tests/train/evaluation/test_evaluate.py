"""Evaluation of a finished model, and its report."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import fmnist_runtime
from fmnist_runtime.errors import CheckpointError, ConfigError, DataError
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.checkpoint import save_checkpoint
from fmnist_train.data.sources import DataSource, find_dataset
from fmnist_train.evaluation.evaluate import evaluate_model
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import classification_metrics
from fmnist_train.evaluation.occlusion import occlusion_maps, overlay
from fmnist_train.evaluation.predictor import open_predictor
from fmnist_train.evaluation.report import Mistake, Report, write_report
from fmnist_train.models import build_model

FILES = {
    "report.html",
    "evaluation.json",
    "classification_report.txt",
    "confusion_matrix.png",
    "reliability.png",
    "sample_predictions.png",
    "worst_mistakes.png",
}
EMBEDDED = find_model("improved")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with an untrained network: its mistakes are many."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = build_model("improved").eval()
    info = {"model": {"name": "improved", "options": {"classes": 10}}, "labels": list(DATASET_LABELS)}
    save_checkpoint(folder / "best", model, info)
    return folder


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("evaluation") / "new"
    return output, evaluate_model(run, find_dataset("sample"), output)


def test_everything_is_written(evaluated):
    output, result = evaluated
    assert {file.name for file in output.iterdir()} == FILES
    assert json.loads((output / "evaluation.json").read_text()) == result
    assert (result["model"], result["dataset"]) == ("improved", "sample")
    assert "Ankle boot" in (output / "classification_report.txt").read_text()


def test_figures_are_those_of_the_checkpoint(run, evaluated):
    test = find_dataset("sample").load("test")
    torch.manual_seed(0)
    logits = predict_logits(build_model("improved"), test.images)
    assert evaluated[1]["test"]["correct"] == int((logits.argmax(axis=1) == test.labels).sum())
    assert open_predictor(run / "best.json").sha256 == evaluated[1]["sha256"]


def test_other_classes_are_refused(run, tmp_path):
    source = find_dataset("sample")
    other = DataSource("shop", ("hat", "scarf"), "", source.reader)
    with pytest.raises(
        DataError, match=r"has 10 classes \(T-shirt/top.*'shop' has 2 classes \(hat, scarf\); name .* --data"
    ):
        evaluate_model(run, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError):
        evaluate_model(tmp_path / "nothing", find_dataset("sample"), tmp_path)


def test_onnx_goes_through_the_runtime(tmp_path, monkeypatch):
    """The runtime gets pixels as devices give them, in portions, and its labels and temperature count."""
    portions = []

    class Classifier:
        metadata = SimpleNamespace(
            labels=DATASET_LABELS, temperature=1.5, precision="int8", document={"model": {"name": "nano"}}
        )

        @classmethod
        def load(cls, path):
            assert path == tmp_path / "model.onnx"
            return cls()

        def logits(self, pixels):
            assert (pixels.dtype, pixels.shape[1:]) == (np.uint8, (1, 28, 28))
            portions.append(len(pixels))
            return np.tile(np.arange(10, dtype=np.float32), (len(pixels), 1))

    monkeypatch.setitem(vars(fmnist_runtime), "Classifier", Classifier)
    (tmp_path / "model.onnx").write_bytes(b"model")
    predictor = open_predictor(tmp_path / "model.onnx")
    logits = predictor.logits(np.zeros((1201, 28, 28), np.uint8))
    assert (logits.shape, portions) == ((1201, 10), [500, 500, 201])
    assert (predictor.name, predictor.kind, predictor.temperature) == ("nano", "ONNX model, int8", 1.5)


@pytest.mark.parametrize("described", [None, [], "nano", {}])
def test_a_model_without_a_name_has_that_of_its_file(tmp_path, monkeypatch, described):
    metadata = SimpleNamespace(labels=(), temperature=1.0, precision="int8", document={"model": described})
    loaded = SimpleNamespace(load=lambda path: SimpleNamespace(metadata=metadata))
    monkeypatch.setitem(vars(fmnist_runtime), "Classifier", loaded)
    (tmp_path / "mine.onnx").write_bytes(b"model")
    assert open_predictor(tmp_path / "mine.onnx").name == "mine"


@pytest.mark.skipif(not EMBEDDED.is_file(), reason="the package carries no embedded model yet")
def test_embedded_model_is_evaluated(tmp_path):
    sample = find_dataset("sample")
    result = evaluate_model(EMBEDDED, sample, tmp_path)
    assert result["kind"] == "ONNX model, int8"
    assert result["test"]["accuracy"] > 0.9
    before = (tmp_path / "report.html").read_bytes()
    float32 = EMBEDDED.with_name("model.onnx")
    for model, source in ((EMBEDDED, replace(sample, name="others")), (float32, sample)):
        with pytest.raises(ConfigError, match=r"has the evaluation of .* \(ONNX model, int8\) on sample: name another"):
            evaluate_model(model, source, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before


# -- occlusion


def linear(images: np.ndarray) -> np.ndarray:
    """Class 1 is the brightness of the upper left, class 2 that of the lower right, class 0 is nothing."""
    pixels = images.astype(np.float32) / 255
    return np.stack([0 * pixels[:, 0, 0], pixels[:, :14, :14].sum((1, 2)), pixels[:, 14:, 14:].sum((1, 2))], axis=1)


def test_occlusion_finds_where_a_known_model_looks():
    images = np.full((1, 28, 28), 255, np.uint8)
    (found,) = occlusion_maps(linear, images, np.array([1]), np.array([2]))
    assert (found[:14, :14] > 0).all()
    assert (found[14:, 14:] < 0).all()
    assert found[:8, -8:].max() == 0
    assert found[0, 0] == pytest.approx(36)


def test_background_contributes_nothing():
    images = np.zeros((2, 28, 28), np.uint8)
    assert not occlusion_maps(linear, images, np.array([1, 2]), np.array([0, 0])).any()


def test_no_images_give_no_maps():
    assert occlusion_maps(linear, np.empty((0, 28, 28), np.uint8), np.array([]), np.array([])).shape == (0, 28, 28)


def test_overlay_is_orange_for_and_blue_against():
    contribution = np.zeros((28, 28))
    contribution[0, 0], contribution[1, 1] = 2, -2
    colors = overlay(np.full((28, 28), 100, np.uint8), contribution).astype(int)
    assert colors[0, 0, 0] > colors[0, 0, 2]
    assert colors[1, 1, 2] > colors[1, 1, 0]
    assert (colors[5, 5] == 80).all()


# -- the report


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_opens_offline(evaluated):
    text = (evaluated[0] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.fetched) == 1 + 2 * 12
    assert all(address.startswith("data:image/png;base64,") for address in page.fetched)
    assert not re.search(r"//|url\(|@import|\$\w", re.sub(r'"data:[^"]*"', "", text))
    assert "default-src 'none'" in text
    assert "script" not in page.tags


def test_report_shows_the_figures(evaluated):
    output, result = evaluated
    text = (output / "report.html").read_text(encoding="utf-8")
    assert f"{result['test']['accuracy']:.2%}" in text
    assert result["sha256"] in text
    assert text.count('class="mistake"') == 12
    for name in DATASET_LABELS:
        assert name in text
    assert "prefers-color-scheme: dark" in text


def test_report_of_a_perfect_model_with_hostile_names(tmp_path):
    names = ("<script>alert(1)</script>", "a & b")
    metrics = classification_metrics(np.eye(2), np.array([0, 1]), names)
    report = Report("$title </title><b>", "x", "0" * 64, metrics, "<pre>", b"png", [])
    write_report(report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("None.") == 2


def test_report_names_the_true_class_of_a_mistake(tmp_path):
    metrics = classification_metrics(np.eye(2), np.array([0, 0]), ("hat", "scarf"))
    blank = np.zeros((28, 28))
    mistake = Mistake(blank.astype(np.uint8), blank, 0, np.array([0.25, 0.75]))
    write_report(Report("t", "s", "0" * 64, metrics, "", b"", [mistake]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'true: <b class="right">hat</b>' in text
    assert text.index("<span>75.0%</span>") < text.index("<span>25.0%</span>")
