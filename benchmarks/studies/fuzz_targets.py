"""Targets of ``fuzz.py``: valid inputs, their structured mutation, the function that reads them, and its refusals."""

import io
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_formats
import fuzz_images
import numpy as np
from PIL import Image

from fmnist_runtime.errors import FmnistError

EXAMPLES = Path(__file__).parents[2] / "examples"
MODES = {
    "JPEG": "L RGB CMYK", "PNG": "1 L LA I;16 P RGB RGBA", "WEBP": "RGB RGBA", "GIF": "L P", "BMP": "1 L P RGB",
    "TIFF": "1 L LA I;16 I F P RGB RGBA CMYK LAB", "PPM": "1 L RGB I;16", "ICO": "RGBA", "ICNS": "RGBA", "TGA": "L RGB P",
    "PCX": "1 L P RGB", "SGI": "L RGB RGBA", "JPEG2000": "L RGB RGBA", "AVIF": "RGB RGBA", "QOI": "RGB RGBA", "BLP": "P",
    "DDS": "L RGB RGBA", "IM": "L RGB", "MSP": "1", "SPIDER": "F", "XBM": "1", "MPO": "RGB", "EPS": "RGB",
}  # fmt: skip
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "JPEG": [{}, {"progressive": True}],
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}],
}


@dataclass(frozen=True)
class Target:
    """Something that reads untrusted input."""

    seeds: Callable[[], list[bytes]]
    """Returns valid inputs."""
    mutate: Callable[[bytes, random.Random], bytes | None]
    """Changes the structure of an input; None where it has none."""
    read: Callable[[bytes], object]
    """Reads an input; may refuse it by one of ``refusals``."""
    refusals: tuple[type[Exception], ...] = (FmnistError,)
    share: float = 1.0
    """Relative number of inputs."""


def _images() -> list[bytes]:
    """Returns small example photos as files, in every format, mode and variant that this Pillow writes."""
    photos = [Image.open(path).convert("RGB").resize((60, 80)) for path in sorted(EXAMPLES.glob("*.jpg"))[:3]]
    files = []
    for kind, modes in MODES.items():
        for number, mode in enumerate(modes.split()):
            picture = _converted(photos[number % len(photos)], mode)
            for options in OPTIONS.get(kind, [{}]):
                file = io.BytesIO()
                try:
                    picture.save(file, kind, **options)
                except (OSError, KeyError, ValueError):  # Pillow was built without the format, or it lacks the mode
                    continue
                files.append(file.getvalue())
    return files


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    """Returns an RGB image in another mode."""
    if mode == "LAB":
        return Image.merge("LAB", picture.split())
    return (picture.convert("L") if mode == "I;16" else picture).convert(mode)


def _read_image(data: bytes) -> None:
    from fmnist_runtime.image_io.decode import open_image
    from fmnist_runtime.preprocessing.pipeline import to_network_input

    seen = to_network_input(open_image(data))
    assert seen.shape == (28, 28) and seen.dtype == np.uint8


def _models() -> list[bytes]:
    from fmnist_runtime.model_file.store import find_model

    return [find_model("nano").read_bytes()]


def _read_model(data: bytes) -> None:
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.selftest import selftest

    classifier = Classifier.from_bytes(data)
    assert json.dumps(classifier(np.full((28, 28), 90, np.uint8)).to_dict())
    selftest(classifier)


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Returns a function that writes its input into a file of that name and reads it."""
    folder = tempfile.TemporaryDirectory()

    def call(data: bytes) -> object:
        path = Path(folder.name) / name
        path.write_bytes(data)
        return read(path)

    return call


def _read_checkpoint(path: Path) -> None:
    from fmnist_train.checkpoint import load_checkpoint

    load_checkpoint(path)


def _read_idx(path: Path) -> None:
    from fmnist_train.data.idx import read_idx

    data = path.read_bytes()
    read_idx(_named_as_packed(path, data), 1 if data[3:4] == b"\1" else 3)


def _named_as_packed(path: Path, data: bytes) -> Path:
    """Renames a gzip file to a name with ``.gz``; returns the new path."""
    return path.rename(f"{path}.gz") if data.startswith(b"\x1f\x8b") else path


def _read_csv(path: Path) -> None:
    from fmnist_train.data.csv import read_csv

    images, labels = read_csv(_named_as_packed(path, path.read_bytes()))
    assert images.shape == (len(labels), 28, 28) and images.dtype == labels.dtype == np.uint8


def _read_answers(path: Path) -> None:
    from fmnist_runtime.drift.counts import read_counts

    counts = read_counts(path)
    assert counts.total > 0 and counts.rejected >= 0


def _read_form(data: bytes) -> None:
    from fmnist_runtime.serve.multipart import read_files

    header, _, body = data.partition(b"\n")
    files = read_files(header.decode("latin-1"), body, 32)
    assert all(file.name.encode() for file in files) and sum(len(file.data) for file in files) <= len(body)


def _form_refusals() -> tuple[type[Exception], ...]:
    from starlette.exceptions import HTTPException

    return (HTTPException,)


TARGETS: dict[str, Target] = {
    "image": Target(_images, fuzz_images.mutate_structure, _read_image, share=6.0),
    "model": Target(_models, fuzz_formats.change_model, _read_model),
    "checkpoint": Target(
        fuzz_formats.checkpoints, fuzz_formats.change_checkpoint, _in_file("run.safetensors", _read_checkpoint)
    ),
    "idx": Target(fuzz_formats.idx_files, fuzz_formats.change_idx, _in_file("data", _read_idx)),
    "csv": Target(fuzz_formats.csv_files, fuzz_formats.change_csv, _in_file("data.csv", _read_csv)),
    "drift": Target(fuzz_formats.answers, fuzz_formats.change_answers, _in_file("answers", _read_answers)),
    "form": Target(fuzz_formats.forms, fuzz_formats.change_form, _read_form, _form_refusals()),
}
"""Targets by name; images are half of all inputs."""
