"""A folder of one's own pictures: trained, exported, and classified with its own labels."""

from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits
from fmnist_runtime import Classifier
from fmnist_train.cli import app
from fmnist_train.console import run_typer


def write_pictures(folder: Path, each: int = 40) -> None:
    """Two classes that no network can miss: an upright bar and a lying one, light on black."""
    rng = np.random.default_rng(0)
    for name, (height, width) in {"lamp post": (24, 6), "sofa": (8, 24)}.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            image = np.zeros((28, 28), np.uint8)
            top, left = (28 - height) // 2, (28 - width) // 2
            image[top : top + height, left : left + width] = rng.integers(120, 255)
            Image.fromarray(image).save(folder / name / f"{i}.png")


def test_own_labels_travel_to_the_device(tmp_path: Path) -> None:
    write_pictures(tmp_path / "things")
    options = "--recipe custom --channels 8 --hidden 16 --epochs 8 --batch-size 16 --validation 0.2 --quiet"
    data, run = str(tmp_path / "things"), tmp_path / "run"
    assert run_typer(app, args=[*options.split(), "--data", data, "--output", str(run)]) == 0
    export(run, ExportOptions(quantize=True, data=data, limits=Limits(max_latency_ratio=0)))
    classifier = Classifier.load(run / "export" / "model.int8.onnx")
    assert classifier.metadata.labels == ("lamp post", "sofa")
    for name in classifier.metadata.labels:
        assert classifier(tmp_path / "things" / name / "0.png").top[0].label == name
