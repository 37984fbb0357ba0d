"""The classifier: paths, files, arrays; one image, a list, a stream with errors as values."""

import io
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime import Classifier, ConfigError, ImageError
from fmnist_runtime.image_io.sources import expand
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.workers.pool import classify_in_processes

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


def test_a_file_object_at_its_end_is_not_an_empty_file(classifier: Classifier) -> None:
    file = io.BytesIO(PHOTO.read_bytes())
    file.seek(0, io.SEEK_END)
    with pytest.raises(ImageError, match=r"at its end: call its method seek\(0\)"):
        classifier(file)
    with pytest.raises(ImageError, match="the file is empty"):
        classifier(io.BytesIO())


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
    with pytest.raises(ImageError, match=r"\[1\] .*bad\.png: not a picture"):
        classifier.batch(picture for picture in (PHOTO, bad))


SINGLE = [str(PHOTO), PHOTO, b"bytes", Image.new("L", (28, 28)), io.BytesIO(b"two\nlines")]
SINGLE += [np.zeros(shape, np.uint8) for shape in ((28, 28), (28, 28, 3), (28, 28, 4))]


@pytest.mark.parametrize("single", SINGLE, ids=lambda single: type(single).__name__)
def test_one_picture_in_place_of_a_list_is_refused(classifier: Classifier, single: object) -> None:
    for call in (classifier.batch, classifier.stream):
        with pytest.raises(ImageError, match="list of pictures"):
            call(single)
    assert len(classifier.batch(np.zeros((2, 28, 28), np.uint8))) == 2
    assert len(classifier.batch(np.array([str(PHOTO), str(PHOTO)]))) == 2


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


class Unfaithful:
    def __fspath__(self) -> str:
        raise RuntimeError("no path\ntoday")


def test_a_path_that_raises_is_an_error_of_its_picture(classifier: Classifier) -> None:
    answers = list(classifier.stream([PHOTO, Unfaithful(), PHOTO]))
    assert [answer.error for answer in answers] == [None, "cannot be read: RuntimeError: no path", None]
    for call in (lambda: classifier(Unfaithful()), lambda: classifier.batch([PHOTO, Unfaithful()])):
        with pytest.raises(ImageError, match="cannot be read: RuntimeError: no path"):
            call()


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": -1}, {"threads": 0}, {"threads": 257}])
def test_numbers_out_of_range_are_refused(classifier: Classifier, options: dict[str, int]) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(ConfigError, match=rf"{name} must be 1 .*, not {value}$"):
        list(classifier.stream([PHOTO, PHOTO], **options))
    if name == "top_k":
        with pytest.raises(ConfigError, match=r"top_k must be 1 or more"):
            classifier(PHOTO, top_k=value)


def test_an_error_keeps_no_pixels(classifier: Classifier) -> None:
    """A folder of pictures that were cut off once took as much memory as all of them decoded."""
    file = io.BytesIO()
    Image.effect_noise((600, 400), 50).save(file, "PNG")
    cut = file.getvalue()[: -len(file.getvalue()) // 3]
    try:
        raise KeyError("of the caller")
    except KeyError as outer:
        with pytest.raises(ImageError) as refusal:
            classifier(cut)
        results = classifier.results([cut, np.zeros((9, 9, 9), np.uint8), PHOTO])
        assert outer.__traceback__.tb_frame.f_locals["cut"] is cut, "its own variables stay"
    assert isinstance(results[0], ImageError) and isinstance(results[1], ImageError) and results[2].top
    for error in (refusal.value.__cause__, *results[:2]):
        values = list(variables_of(error))
        assert not any(isinstance(value, Image.Image | np.ndarray | bytes | list) for value in values), values


def variables_of(error: BaseException) -> Iterator[object]:
    """Yields the local variables of all functions that the traceback of an exception and its causes keeps."""
    for each in (error, *filter(None, [error.__cause__])):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield from frame.f_locals.values()


def test_a_defect_is_no_error_value(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "prepare", lambda *a, **k: {}["defect"])
    with pytest.raises(KeyError):
        list(classifier.stream([PHOTO]))


def test_processes_and_threads_take_one_path(classifier: Classifier) -> None:
    options = {"top_k": 3, "reject": True}
    in_processes = classify_in_processes(expand([EXAMPLES]), 2, load={"path": "nano"}, options=options)
    assert list(in_processes) == list(classifier.stream([EXAMPLES]))


def test_predictions_are_complete_and_ordered(tiny_model: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
    prediction = Classifier.load(tiny_model)(image, top_k=3)
    shares = [top.probability for top in prediction.top]
    assert prediction.label == prediction.top[0].label == "abc"[prediction.class_id]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-5)


def test_batch_equals_single(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model)
    images = list(np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8))
    for one, many in zip([classifier(i) for i in images], classifier.batch(images), strict=True):
        assert (one.label, one.class_id) == (many.label, many.class_id)
        assert one.probability == pytest.approx(many.probability, abs=1e-6)
    assert classifier.batch([]) == []
    assert classifier.batch(np.stack(images)) == classifier.batch(images)


@pytest.mark.parametrize("shape", [(0, 3), (5,), (9, 9, 2), (2, 9, 9, 3), ()])
def test_arrays_that_are_no_pictures(tiny_model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="an array must be uint8"):
        Classifier.load(tiny_model)(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="not float32"):
        Classifier.load(tiny_model)(np.zeros((28, 28), np.float32))


@pytest.mark.parametrize("thing", [None, 0, bytearray(b"x"), [1]])
def test_things_that_are_no_pictures(tiny_model: Path, thing: object) -> None:
    with pytest.raises(ImageError, match="a picture is"):
        Classifier.load(tiny_model)(thing)


def test_a_classification_imports_nothing_heavy() -> None:
    code = (
        "import sys, numpy as np\nfrom fmnist_runtime import Classifier\n"
        "Classifier.load()(np.zeros((40, 30, 3), np.uint8))\n"
        "print([m for m in ('torch', 'torchvision', 'onnx', 'sklearn', 'matplotlib', 'rich', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pillow_image(tiny_model: Path) -> None:
    assert Classifier.load(tiny_model)(Image.new("RGB", (60, 40), "white")).top


def test_pillow_images_of_any_mode(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model)
    assert classifier(Image.new("I;16", (60, 40), 60000)).top and classifier(Image.new("F", (60, 40), 0.5)).top
    with pytest.raises(ImageError, match="no pixels"):
        classifier(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_the_contents_of_a_model_may_be_any_bytes(kind: type) -> None:
    data = find_model("nano").read_bytes()
    assert Classifier.from_bytes(kind(data))(PHOTO) == Classifier.from_bytes(data)(PHOTO)


def test_no_inputs_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.classify_inputs(np.zeros((0, 1, 28, 28), "uint8")) == []
