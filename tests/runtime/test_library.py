"""The library's ways in: paths, files, arrays; one picture, a list, a stream with errors as values."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime import Answer, Classifier, ImageError
from fmnist_runtime.batching.worker_pool import classify_in_processes
from fmnist_runtime.image_io.sources import expand, find_images

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO = EXAMPLES / "shirt.jpg"


class PathLike:
    def __fspath__(self) -> str:
        return str(PHOTO)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("nano")


def test_every_way_to_give_a_photo(classifier: Classifier) -> None:
    expected = classifier(str(PHOTO))
    with PHOTO.open("rb") as file:
        ways = [PHOTO, PathLike(), PHOTO.read_bytes(), file, io.BytesIO(PHOTO.read_bytes())]
        assert [classifier(way) for way in ways] == [expected] * len(ways)


def test_a_text_file_object_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ImageError, match="binary mode"):
        classifier(io.StringIO("text"))


def test_float_arrays_are_refused_with_what_to_do(classifier: Classifier) -> None:
    pixels = np.random.default_rng(0).random((28, 28))
    with pytest.raises(ImageError, match=r"must be uint8.*not float64.*255 \* x") as refusal:
        classifier(pixels)
    advice = str(refusal.value).rpartition("with ")[2]
    assert classifier(eval(advice, {"x": pixels})).top


def test_a_bad_picture_of_a_batch_is_named(classifier: Classifier, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"\[1\] .*bad\.png: not a picture"):
        classifier.batch([PHOTO, bad, PHOTO])
    with pytest.raises(ImageError, match=r"\[2\]: the file is empty"):
        classifier.batch([PHOTO, PHOTO, b""])


@pytest.mark.parametrize("single", [str(PHOTO), PHOTO, b"bytes"])
def test_one_picture_in_place_of_a_list_is_refused(classifier: Classifier, single: object) -> None:
    for call in (classifier.batch, classifier.stream):
        with pytest.raises(ImageError, match="list of pictures"):
            call(single)


def test_a_stream_has_errors_as_values_and_loses_nothing(classifier: Classifier, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    array = np.full((28, 28), 9, np.uint8)
    pictures = [PHOTO, tmp_path, array, tmp_path / "gone.png", b"", Image.new("L", (30, 30), 90)]
    answers = list(classifier.stream(pictures))
    names = [str(PHOTO), str(bad), "[2]", str(tmp_path / "gone.png"), "[4]", "[5]"]
    assert [answer.path for answer in answers] == names
    assert [answer.error is None for answer in answers] == [True, False, True, False, False, True]
    assert answers[0].prediction == classifier(PHOTO) and answers[2].prediction == classifier(array)


def test_a_defect_is_no_error_value(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "prepare", lambda *a, **k: {}["defect"])
    with pytest.raises(KeyError):
        list(classifier.stream([PHOTO]))


def test_answers_as_json(classifier: Classifier) -> None:
    prediction = classifier(PHOTO, top_k=2, reject=False)
    found = json.loads(json.dumps(prediction.to_dict()))
    assert list(found) == ["label", "class_id", "probability", "top", "rejected"]
    assert found["label"] == prediction.label and found["top"][1]["class_id"] == prediction.top[1].class_id
    rejected = prediction._replace(label=None, class_id=None, rejected=True, reason="unlike")
    assert rejected.to_dict()["reason"] == "unlike"
    assert Answer.of("x.jpg", prediction).to_dict() == {"path": "x.jpg", **prediction.to_dict()}
    failed = Answer.of("x.jpg", ImageError("damaged")).to_dict()
    assert failed["error"] == "damaged" and failed["label"] is None and failed["top"] == []


def test_processes_and_threads_take_one_path(classifier: Classifier) -> None:
    options = {"top_k": 3, "reject": True, "show": None}
    in_processes = classify_in_processes(expand([EXAMPLES]), 2, load={"path": "nano"}, options=options)
    assert list(in_processes) == list(classifier.stream([EXAMPLES]))


def test_hidden_files_of_systems_are_left_out(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", "._a.png", "__MACOSX/c.png", ".ipynb_checkpoints/d.png", ".Trash-1000/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PHOTO.read_bytes())
    assert list(find_images(tmp_path)) == [tmp_path / "a.png"]
    hidden = tmp_path / ".Trash-1000"  # given by name, it is searched
    assert list(find_images(hidden)) == [Path(os.fspath(hidden), "e.png")]
