"""Streams of images are read lazily."""

from pathlib import Path

from PIL import Image

from fmnist_runtime import Classifier
from fmnist_runtime.image_io.sources import count_pictures


def test_a_stream_is_read_no_further_than_needed(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    taken = 0

    def names() -> "object":
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield str(tmp_path / "x.png")

    answers = Classifier.load().stream(names())
    for _ in range(10):
        next(answers)
    assert taken < 1000
    answers.close()
    assert count_pictures([str(tmp_path), str(tmp_path / "x.png")]) == 2
