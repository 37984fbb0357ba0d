"""The pictures of a run are written whole, for usual data and for the edges of it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.evaluation.gallery import most_confident_mistakes
from fmnist_train.evaluation.plots import (
    Predictions,
    write_confusion_matrix,
    write_reliability_diagram,
    write_sample_predictions,
    write_training_curves,
    write_worst_mistakes,
)

ROOT = Path(__file__).parents[3]


def check(path, least_colors: int = 20) -> np.ndarray:
    """A PNG of sensible size with something drawn on a white background, and nothing left beside it."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < 250_000
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[[0, -1]] == 255).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) >= least_colors
    return pixels


def history(epochs: int, validation: bool = True) -> list[dict]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 1 - 0.3 / epoch,
            "validation_loss": 1.1 / epoch if validation else None,
            "validation_accuracy": 0.9 - 0.2 / epoch if validation else None,
            "learning_rate": 1e-3,
            "seconds": 2.0,
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("rows", [history(30), history(1), history(5, validation=False)])
def test_training_curves(tmp_path, rows):
    write_training_curves(rows, 1, tmp_path / "new" / "curves.png")
    check(tmp_path / "new" / "curves.png")


def test_training_curves_mark_the_chosen_epoch_and_show_photos(tmp_path, monkeypatch):
    """Another epoch than the one with the best validation accuracy, as of a run that also learned from photos."""
    drawn = []
    monkeypatch.setattr("fmnist_train.evaluation.plots.save_figure", lambda figure, path: drawn.append(figure))
    rows = [row | {"photo_accuracy": 0.5 + row["epoch"] / 100} for row in history(5)]
    write_training_curves(rows, 3, tmp_path / "curves.png")
    write_training_curves(history(5, validation=False), 5, tmp_path / "curves.png")
    (_, both, *_), (_, plain, *_) = (figure.axes for figure in drawn)
    marked = [line.get_xdata()[0] for line in both.lines if line.get_linestyle() == ":"]
    assert marked == [3] and both.get_title("right") == "chosen: epoch 3, validation 83.33%, photos 53.00%"
    assert [text.get_text() for text in both.get_legend().texts] == ["training", "validation", "validation photos"]
    assert plain.get_title("right") == "chosen: epoch 5" and len(plain.get_legend().texts) == 1


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_confusion_matrix(tmp_path, classes):
    matrix = np.random.default_rng(0).integers(0, 9, (classes, classes)) + 90 * np.eye(classes, dtype=int)
    matrix[-1] = 0  # a class without images
    names = [f"class number {i} of the ${classes}$" for i in range(classes)]
    write_confusion_matrix(matrix, names, tmp_path / "matrix.png")
    check(tmp_path / "matrix.png")


@pytest.fixture
def predictions(small) -> Predictions:
    test = small["test"]
    probabilities = np.random.default_rng(0).dirichlet(np.full(10, 0.3), len(test))
    return Predictions(test.images, test.labels, probabilities, DATASET_LABELS)


def test_galleries(tmp_path, predictions):
    for write in (write_sample_predictions, write_worst_mistakes):
        path = tmp_path / write.__name__ / "gallery.png"
        write(predictions, path)
        check(path, least_colors=200)


def test_gallery_without_mistakes(tmp_path, predictions):
    perfect = dataclasses.replace(predictions, probabilities=np.eye(10)[predictions.labels])
    write_worst_mistakes(perfect, tmp_path / "none.png")
    check(tmp_path / "none.png")


def test_gallery_of_two_classes_and_few_images(tmp_path, predictions):
    two = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    few = Predictions(predictions.images[:3], np.array([0, 1, 1]), two, ("yes", "no"))
    write_sample_predictions(few, tmp_path / "few.png")
    check(tmp_path / "few.png", least_colors=100)


def test_worst_mistakes_are_the_most_confident_ones():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.01, 0.99], [0.2, 0.8]])
    assert most_confident_mistakes(probabilities, np.array([0, 0, 0, 0])).tolist() == [2, 3, 1]
    assert most_confident_mistakes(probabilities, np.array([0, 0, 0, 0]), count=1).tolist() == [2]


def test_reliability_diagram(tmp_path, predictions):
    write_reliability_diagram(predictions.probabilities, predictions.labels, tmp_path / "reliability.png")
    check(tmp_path / "reliability.png")


def test_pictures_are_drawn_without_pyplot(tmp_path, predictions, monkeypatch):
    """The state of pyplot is a person's own; drawing here must not open, change or need it."""
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    write_reliability_diagram(predictions.probabilities, predictions.labels, tmp_path / "reliability.png")
    check(tmp_path / "reliability.png")


@pytest.mark.parametrize("name", ["帽子", "🧦", "a$b$", "under_score^"])
def test_class_names_in_any_script_give_no_warning(name: str, tmp_path) -> None:
    """Warnings are errors here. The font lacks some characters, which become boxes."""
    write_confusion_matrix(np.array([[3, 1], [2, 4]]), (name, "b"), tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size


def test_a_home_that_cannot_be_written_is_no_message(tmp_path: Path) -> None:
    """Matplotlib warns of it in each process, in the middle of the commands' output."""
    (tmp_path / "file").touch()
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "file" / "x")}
    code = "import fmnist_train.evaluation.plots"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the guide names the folders of Linux")
def test_the_guide_names_what_plots_leave_in_the_home(tmp_path: Path) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    }
    code = "import fmnist_train.evaluation.plots"
    subprocess.run([sys.executable, "-c", code], check=True, env={**kept, "HOME": str(tmp_path)})
    guide = (ROOT / "docs" / "library.md").read_text("utf-8")
    left = [path.relative_to(tmp_path) for path in tmp_path.glob("*/*")]
    assert left and all(f"`~/{path}`" in guide for path in left)
