"""Photos: the table is checked, views are cached by content, and fine-tuning keeps the data set's classes."""

import csv
import dataclasses
import math
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fmnist_runtime.errors import ConfigError, DataError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.checkpoint import load_checkpoint, save_checkpoint
from fmnist_train.data import photo_views
from fmnist_train.data.clothing_dataset import TRAINING_SENDERS, convert_clothing_dataset
from fmnist_train.data.paper import draw_sheet, lay_on
from fmnist_train.data.photo_views import ViewSettings, load_views, paper_views
from fmnist_train.data.photos import read_photos, slug, split_by_sender
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES, Augmentation
from fmnist_train.training.loop import Training
from fmnist_train.training.photos import PhotoSampler, PhotoViews, load_photo_data, photo_loss
from fmnist_train.training.teacher import find_photo_teachers, find_start
from fmnist_train.training.validation import unpack_logits

HEADER = ["file", "answers", "label", "sender", "part"]
ROWS = [
    ["0.jpg", "tshirt-top", "T-Shirt", "ann", "train"],
    ["1.jpg", "pullover+coat", "Hoodie", "ann", "train"],
    ["2.jpg", "none", "Hat", "bob", "validation"],
    ["3.jpg", "shirt", "", "bob", "validation"],
]


def write_folder(folder: Path, rows: Sequence[Sequence[str]] = ROWS, header: Sequence[str] = HEADER) -> Path:
    """Photos of a dark patch on a light background, each another one, and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        photo = Image.new("RGB", (60, 50), (230, 225, 220))
        photo.paste((20 + 40 * number, 30, 60), (12, 8, 44 - number, 42))
        photo.save(folder / f"{number}.jpg")
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def changed(row: int, column: int, value: str) -> list[list[str]]:
    rows = [list(each) for each in ROWS]
    rows[row][column] = value
    return rows


def test_a_table_is_read_with_all_accepted_answers(tmp_path: Path) -> None:
    photos = read_photos(write_folder(tmp_path), DATASET_LABELS)
    assert [photo.answers for photo in photos] == [(0,), (2, 4), (), (6,)]
    train, validation = split_by_sender(photos)
    assert {photo.sender for photo in train} == {"ann"} and {photo.sender for photo in validation} == {"bob"}
    assert [slug(label) for label in ("T-shirt/top", "Ankle boot")] == ["tshirt-top", "ankle-boot"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(1, 1, "pullover+cape"), "train.csv: line 3: unknown class 'cape'"),
        (changed(0, 1, "none+coat"), "line 2: 'none' is combined with a class"),
        (changed(3, 0, "missing.jpg"), "line 5: .*missing.jpg: no such file"),
        (
            changed(3, 0, "photos\\3.jpg"),
            r"line 5: .*photos\\3.jpg: no such file \(.*Windows.*; correct the names, replace",
        ),
        (changed(1, 0, ""), "line 3: no file; give the path of the photo"),
        (changed(2, 0, "1.jpg"), "line 4: 1.jpg is in the table twice, first in line 3"),
        (changed(1, 3, "bob"), "line 4: sender 'bob' is in both training and validation"),
        (changed(0, 4, "test"), "line 2: unknown part 'test'"),
        (changed(0, 3, ""), "line 2: no sender"),
        ([], "line 1: holds no photos"),
        ([["0.jpg", "coat"]], "line 2: the number of fields differs"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_line(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_photos(write_folder(tmp_path, rows), DATASET_LABELS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("loop.jpg", r"line 4: .*loop\.jpg: no such file"),
        ("a\0.jpg", "line 4: the file's name holds a NUL byte"),
        ("a" * 300, "line 4: .*aaa: no such file"),
    ],
    ids=["a link to itself", "NUL", "too long"],
)
def test_names_that_no_file_has_are_refused_with_their_line(tmp_path: Path, name: str, message: str) -> None:
    folder = write_folder(tmp_path, changed(2, 0, name))
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    with pytest.raises(DataError, match=message):
        read_photos(folder, DATASET_LABELS)


def test_unreadable_photos_and_missing_columns_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"line 3: .*1\.jpg: cannot be read as an image"):
        read_photos(tmp_path, DATASET_LABELS)
    (tmp_path / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"line 3: .*; 1 more missing or unreadable: line 4; correct the names, replace the photos"
    ):
        read_photos(tmp_path, DATASET_LABELS)
    write_folder(tmp_path, header=["file", "answers", "label", "who", "part"])
    with pytest.raises(DataError, match="line 1: no column 'sender'"):
        read_photos(tmp_path, DATASET_LABELS)
    write_folder(tmp_path, [[*row, row[1]] for row in ROWS], header=[*HEADER, "answers"])
    with pytest.raises(DataError, match="line 1: the column 'answers' is there twice; remove one"):
        read_photos(tmp_path, DATASET_LABELS)
    with pytest.raises(DataError, match="Clothing dataset"):
        read_photos(tmp_path / "nowhere", DATASET_LABELS)


@pytest.mark.parametrize(
    ("before", "after", "encoding", "message"),
    [
        ("", "", "utf-16", "not UTF-8 text; save it as CSV UTF-8"),
        ("", "", "utf-16-le", "not UTF-8 text; save it as CSV UTF-8"),
        ("", "", "utf-16-be", "not UTF-8 text; save it as CSV UTF-8"),
        ("ann", "änn", "cp1252", "not UTF-8 text; save it as CSV UTF-8"),
        (",", ";", "utf-8", "separated by semicolons: save the file with commas"),
        (",", "\t", "utf-8", "separated by tabs: save the file with commas"),
        ("file,", "sep=,\nfile,", "utf-8", "Excel's 'sep=': delete it"),
    ],
)
def test_a_table_of_a_spreadsheet_has_advice(
    tmp_path: Path, before: str, after: str, encoding: str, message: str
) -> None:
    table = write_folder(tmp_path) / "train.csv"
    text = table.read_text("utf-8")
    table.write_text(text.replace(before, after) if before else text, encoding)
    with pytest.raises(DataError, match=message):
        read_photos(tmp_path, DATASET_LABELS)


def test_a_name_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    """A Mac's archive decomposes the names of files, and a table written elsewhere does not."""
    decomposed, composed = (unicodedata.normalize(form, "Hüte.jpg") for form in ("NFD", "NFC"))
    for stored, listed in ((decomposed, composed), (composed, decomposed)):
        folder = write_folder(tmp_path / stored, changed(0, 0, listed))
        (folder / "0.jpg").rename(folder / stored)
        assert read_photos(folder, DATASET_LABELS)[0].path.is_file()


def test_a_table_without_line_ends_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    with (folder / "train.csv").open("a") as file:
        file.write("x" * 200_000)
    with pytest.raises(DataError, match="a line of more than 100,000 characters"):
        read_photos(folder, DATASET_LABELS)


def test_a_validation_photo_that_is_in_training_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path)
    train, validation = split_by_sender(read_photos(folder, DATASET_LABELS))
    assert caplog.text == ""
    validation[0].path.write_bytes(train[0].path.read_bytes())
    split_by_sender(read_photos(folder, DATASET_LABELS))
    assert f"{validation[0].path}: this is also under another name and sender in training" in caplog.text


def test_a_blank_after_a_sender_makes_no_other_person(tmp_path: Path) -> None:
    photos = read_photos(write_folder(tmp_path, changed(0, 3, f"{ROWS[0][3]} ")), DATASET_LABELS)
    assert photos[0].sender == ROWS[0][3]


def test_senders_are_divided_by_hash(tmp_path: Path) -> None:
    rows = [[*row[:3], sender, ""] for row, sender in zip(ROWS, ("8", "16", "22", "45"), strict=True)]
    photos = read_photos(write_folder(tmp_path, rows), DATASET_LABELS)
    first, backwards = (
        [{photo.sender for photo in part} for part in split_by_sender(p)] for p in (photos, photos[::-1])
    )
    assert first == backwards and not first[0] & first[1]
    with pytest.raises(ConfigError, match="too few senders"):
        split_by_sender([photo for photo in photos if photo.sender in first[0]])


def test_empty_rows_of_a_spreadsheet_are_left_out_of_the_table(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    photos, table = read_photos(folder, DATASET_LABELS), folder / "train.csv"
    table.write_text(table.read_text() + 2 * ("," * (len(HEADER) - 1) + "\n"))
    assert read_photos(folder, DATASET_LABELS) == photos


@pytest.mark.parametrize("name", ["Part", " part", "PART"])
def test_a_column_that_is_nearly_part_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    table = folder / "train.csv"
    header, *rows = table.read_text().splitlines()
    plain = [column for column in header.split(",") if column != "part"]
    table.write_text("\n".join([",".join([*plain, name]), *(f"{row},train" for row in rows)]))
    with pytest.raises(DataError, match=f"the column '{name}' must be called 'part'"):
        read_photos(folder, DATASET_LABELS)
    table.write_text("\n".join([f"{','.join(plain)},part,part", *(f"{row},train,train" for row in rows)]))
    with pytest.raises(DataError, match="the column 'part' is there twice"):
        read_photos(folder, DATASET_LABELS)


def test_views_are_made_once_for_the_same_photos_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_folder(tmp_path / "photos") / f"{number}.jpg" for number in range(4)]
    settings = ViewSettings(count=3)
    views = load_views(paths, settings, tmp_path / "cache")
    assert views.shape == (4, 3, 28, 28) and views.any(axis=(2, 3)).all()
    assert not np.array_equal(views[:, 0], views[:, 1])
    monkeypatch.setattr(photo_views, "ProcessPoolExecutor", lambda *_: pytest.fail("made again"))
    assert np.array_equal(load_views(paths, settings, tmp_path / "cache"), views)
    for other in (
        lambda: load_views(paths, ViewSettings(count=2), tmp_path / "cache"),
        lambda: damage(paths, tmp_path),
    ):
        with pytest.raises(pytest.fail.Exception, match="made again"):
            other()


def test_views_of_a_transparent_photo_have_its_garment(tmp_path: Path) -> None:
    """The color stored under transparent pixels is mostly black, as the garment is here."""
    photo = Image.new("RGBA", (300, 300))
    ImageDraw.Draw(photo).polygon(
        [(90, 60), (210, 60), (260, 110), (205, 120), (205, 250), (95, 250), (40, 110)], "black"
    )
    photo.save(tmp_path / "cut-out.png")
    views = photo_views.photo_views(tmp_path / "cut-out.png", ViewSettings(count=8))
    assert ((views > 0).mean(axis=(1, 2)) > 0.4).all()


def test_sheets_of_paper_are_found_by_the_preprocessing_and_differ(tmp_path: Path) -> None:
    grounds = [write_folder(tmp_path / "photos") / f"{number % 4}.jpg" for number in range(12)]
    views = paper_views(grounds, ViewSettings(count=3), tmp_path / "cache")
    assert views.shape == (12, 3, 28, 28) and views.any(axis=(2, 3)).mean() > 0.9
    assert len(np.unique(views.reshape(36, -1), axis=0)) > 30, "each view is drawn anew"
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    assert np.array_equal(paper_views(grounds, ViewSettings(count=3), tmp_path / "cache"), views)


def test_a_sheet_lies_on_its_ground() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seen = np.asarray(lay_on(draw_sheet(rng), np.full((200, 260, 3), (20, 40, 90), np.float32), rng))
        light = (seen.min(axis=2) > 110).mean()
        assert seen.shape == (200, 260, 3) and 0.05 < light < 0.95
        assert np.abs(seen[0, 0].astype(int) - (20, 40, 90)).max() < 30


def test_damaged_views_are_made_again(tmp_path: Path) -> None:
    paths = [write_folder(tmp_path / "photos") / "0.jpg"]
    views = load_views(paths, ViewSettings(count=2), tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    changed = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for part in (b"", whole[:50], b"no array" * 20, whole + b"0", changed, whole[:800] + bytes(len(whole) - 800)):
        file.write_bytes(part)
        assert np.array_equal(load_views(paths, ViewSettings(count=2), tmp_path / "cache"), views)
        assert file.read_bytes() == whole


def test_without_a_cache_the_views_are_used_all_the_same(tmp_path: Path) -> None:
    paths = [write_folder(tmp_path / "photos") / "0.jpg"]
    (tmp_path / "file").touch()
    notes: list[str] = []
    views = load_views(paths, ViewSettings(count=2), tmp_path / "file" / "cache", note=notes.append)
    assert views.shape == (1, 2, 28, 28) and views.any()
    assert notes[1].startswith(f"the views are not kept for the next run ({tmp_path}/file") and len(notes) == 2


def end_process(path: Path, settings: ViewSettings) -> np.ndarray:
    """Stand in for ``photo_views`` in a process that the system ends."""
    os._exit(9)


def test_a_process_that_ends_while_it_makes_views_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_views, "photo_views", end_process)
    with pytest.raises(DataError, match="was ended"):
        load_views([write_folder(tmp_path) / "0.jpg"], ViewSettings(count=2), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of children")
def test_processes_that_make_views_end_with_a_killed_training(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from fmnist_train.data.photo_views import _cached

if __name__ == "__main__":
    _cached(Path(sys.argv[1]), time.sleep, [(60,)] * 40, shape=(40, 1, 28, 28), note=lambda text: None)
"""
    (tmp_path / "code.py").write_text(code)
    training = subprocess.Popen([sys.executable, tmp_path / "code.py", tmp_path / "cache"])
    listed = Path(f"/proc/{training.pid}/task/{training.pid}/children")
    wait_until(lambda: len(listed.read_text().split()) > 1)  # one is multiprocessing's own
    time.sleep(1)  # the last of them has started, too
    children = [Path("/proc") / number for number in listed.read_text().split()]
    training.kill()
    training.wait()
    wait_until(lambda: not any(child.exists() for child in children))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def damage(paths: list[Path], folder: Path) -> None:
    """Load the views of photos of which one has changed."""
    Image.new("RGB", (40, 40)).save(paths[0])
    load_views(paths, ViewSettings(count=3), folder / "cache")


def test_the_loss_of_a_photo_counts_every_accepted_answer() -> None:
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    answers = torch.zeros(3, 10, dtype=torch.bool)
    answers[0, 3] = answers[1, 2] = answers[1, 4] = True
    p = logits.softmax(1)
    none = 0.5 * (-logits.log_softmax(1)[2].mean() - math.log(10))
    expected = (-p[0, 3].log() - (p[1, 2] + p[1, 4]).log() + none) / 3
    loss = photo_loss(logits, answers)
    assert torch.isclose(loss, expected)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_rare_answers_are_drawn_as_often_as_common_ones_when_balanced() -> None:
    answers = np.zeros((100, 10), bool)
    answers[:90, 0] = answers[90:, 1] = True
    images = np.full((100, 2, 28, 28), 100, np.uint8)
    images[0] = 0  # both views have lost the garment
    images[1:, :, 0, 0] = np.arange(1, 100)[:, None]
    torch.manual_seed(0)
    for balance, share in ((0.0, 0.1), (1.0, 0.5)):
        drawn = PhotoSampler(PhotoViews(images, answers), balance, torch.device("cpu")).draw(4000)
        assert abs(drawn.answers[:, 1].float().mean().item() - share) < 0.03
        assert drawn.images.shape == (4000, 1, 28, 28) and drawn.images.flatten(1).any(1).all()
        assert drawn.teacher_logits is None


def test_photo_teachers_answer_the_very_views_that_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = [load_checkpoint(untrained(tmp_path / f"{seed}", seed)) for seed in (0, 1)]
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 28, 28)).astype(np.uint8)
    monkeypatch.setattr("fmnist_train.training.photos._AUGMENTATION", Augmentation())
    monkeypatch.setattr("fmnist_train.training.photos._QUARTER_TURNS", 0.0)
    answers = np.eye(6, 10) > 0
    answers[4] = False  # a photo of none of the classes, which a teacher may accept
    drawn = PhotoSampler(PhotoViews(images, answers), 0.0, torch.device("cpu"), teachers).draw(40)
    known = drawn.answers.any(dim=1).numpy()
    pixels = drawn.images[:, 0].numpy().astype(np.uint8)
    alone = np.mean([predict_logits(teacher.model, pixels) for teacher in teachers], axis=0)
    assert drawn.teacher_logits is not None and known.any() and not known.all()
    assert np.allclose(drawn.teacher_logits[known], alone[known], atol=1e-4)
    assert not drawn.teacher_logits[~known].any() and alone[~known].any()


def untrained(folder: Path, seed: int) -> Path:
    """A checkpoint of an untrained network that has seen formulas of photographs."""
    torch.manual_seed(seed)
    options = {"classes": 10, "widths": [4, 4, 4]}
    info = {
        "model": {"name": "residual", "options": options},
        "labels": list(DATASET_LABELS),
        "recipe": RECIPES["nano-photos"].to_dict(),
    }
    save_checkpoint(folder / "best", build_model("residual", **options), info)
    return folder


def test_photo_teachers_that_could_not_teach_are_refused(tmp_path: Path) -> None:
    plain, labels = RECIPES["best-photos"], list(DATASET_LABELS)
    folder = untrained(tmp_path / "teacher", 0)
    with pytest.raises(ConfigError, match="need photos"):
        dataclasses.replace(RECIPES["improved-published"], photo_distillation=0.5)
    assert find_photo_teachers(plain, (), labels) == []
    with pytest.raises(ConfigError, match="no weight"):
        find_photo_teachers(plain, (folder,), labels)
    taught = dataclasses.replace(plain, photo_distillation=0.5)
    with pytest.raises(ConfigError, match="name one with --photo-teacher"):
        find_photo_teachers(taught, (), labels)
    with pytest.raises(ConfigError, match="other classes"):
        find_photo_teachers(taught, (folder,), ["cat", "dog"])
    assert [teacher.path.parent for teacher in find_photo_teachers(taught, (folder,), labels)] == [folder]


def test_photos_are_required_and_refused(tmp_path: Path) -> None:
    split = find_dataset("sample").load("train")
    with pytest.raises(ConfigError, match="fmnist-train photos CLONE FOLDER"):
        load_photo_data(RECIPES["improved-photos"], None, DATASET_LABELS, split, tmp_path)
    with pytest.raises(ConfigError, match="does not learn from photos"):
        load_photo_data(RECIPES["improved-published"], tmp_path, DATASET_LABELS, split, tmp_path)
    recipe = dataclasses.replace(RECIPES["improved-published"], photo_share=0.3)
    with pytest.raises(ConfigError, match="starts from random weights: name a finished run with --start, or take"):
        find_start(recipe, None, DATASET_LABELS)


@pytest.mark.parametrize(
    ("answers", "visible", "message"),
    [
        (["coat", "dress", "none", "none"], [1, 1, 1, 1], "to validate with shows one of the classes"),
        (["coat", "dress", "coat", "none"], [1, 1, 0, 1], "to validate with shows one of the classes"),
        (["coat", "dress", "coat", "none"], [0, 0, 1, 1], "to train on shows anything"),
    ],
)
def test_photos_that_no_figure_can_be_computed_from_are_refused_before_training(
    answers: list[str], visible: list[int], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = np.full((4, 2, 28, 28), 9, np.uint8) * np.array(visible, np.uint8)[:, None, None, None]
    monkeypatch.setattr("fmnist_train.training.photos.load_views", lambda *_, **__: views)
    rows = [[row[0], answer, *row[2:]] for row, answer in zip(ROWS, answers, strict=True)]
    split = find_dataset("sample").load("train")
    with pytest.raises(ConfigError, match=message):
        load_photo_data(RECIPES["improved-photos"], write_folder(tmp_path, rows), DATASET_LABELS, split, tmp_path)


def write_clone(clone: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A clone of the Clothing dataset with three photos; rows of its table have image, sender and label."""
    write_folder(clone / "images")
    (clone / "images" / "train.csv").unlink()
    with (clone / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "sender_id", "label", "kids"], *([*row, "False"] for row in rows)])
    return clone


def test_a_clone_becomes_a_folder_of_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sender = min(TRAINING_SENDERS)
    rows = [["0", sender, "Hoodie"], ["1", "another", "Dress"], ["2", sender, "Skip"]]
    clone = write_clone(tmp_path / "clone", rows)
    assert convert_clothing_dataset(clone, tmp_path / "photos") == 1
    assert caplog.text == ""
    (photo,) = read_photos(tmp_path / "photos", DATASET_LABELS)
    assert photo.answers == (2, 4) and photo.sender == sender
    (clone / "images.csv").write_text("image,label\n")
    with pytest.raises(DataError, match="no column 'sender_id'"):
        convert_clothing_dataset(clone, tmp_path / "photos")
    for encoding in ("utf-16", "utf-16-le"):
        (clone / "images.csv").write_text("image,sender_id,label,kids\n", encoding)
        with pytest.raises(DataError, match="not UTF-8 text"):
            convert_clothing_dataset(clone, tmp_path / "photos")


def test_photos_that_a_clone_lacks_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sender = min(TRAINING_SENDERS)
    clone = write_clone(tmp_path / "clone", [[name, sender, "Hoodie"] for name in ("0", "1", "gone")])
    (clone / "images" / "1.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert convert_clothing_dataset(clone, tmp_path / "photos") == 1
    assert "left out 2 photos that are missing or unreadable, such as images/1.jpg" in caplog.text


def test_the_conversion_of_a_clone_replaces_no_file(tmp_path: Path) -> None:
    clone = write_clone(tmp_path / "clone", [["0", min(TRAINING_SENDERS), "Hoodie"]])
    before = {path: path.read_bytes() for path in clone.rglob("*.*")}
    with pytest.raises(ConfigError, match=r"0\.jpg exists and would be replaced"):
        convert_clothing_dataset(clone, clone)
    assert {path: path.read_bytes() for path in clone.rglob("*.*")} == before
    own = tmp_path / "own" / "train.csv"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(ConfigError, match=r"train\.csv exists and would be replaced"):
        convert_clothing_dataset(clone, own.parent)
    assert own.read_text() == "mine" and len(list(own.parent.iterdir())) == 1


def test_a_conversion_that_was_killed_is_completed(tmp_path: Path) -> None:
    clone = write_clone(tmp_path / "clone", [[name, min(TRAINING_SENDERS), "Hoodie"] for name in ("0", "1")])
    folder = tmp_path / "photos"
    assert convert_clothing_dataset(clone, folder) == 2
    whole = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(ConfigError, match="exists and would be replaced"):  # its photos may have been changed
        convert_clothing_dataset(clone, folder)
    (folder / "images" / "1.jpg").unlink()
    assert convert_clothing_dataset(clone, folder) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == whole
    (folder / "images" / "1.jpg").unlink()
    table = (folder / "train.csv").read_text().replace("Hoodie", "Shirt")
    (folder / "train.csv").write_text(table)
    with pytest.raises(ConfigError, match=r"train\.csv exists and would be replaced"):
        convert_clothing_dataset(clone, folder)
    assert (folder / "train.csv").read_text() == table


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a-b", "c", "AB"], r"the classes 'a-b' and 'AB' are both 'ab' in a table of photos: rename one"),
        (["a", "None"], r"rename the class 'None'"),
    ],
)
def test_classes_that_a_table_cannot_distinguish_are_refused(labels: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_photos(write_folder(tmp_path), labels)


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "a/b", "", ".."])
def test_a_table_cannot_choose_where_pictures_are_written(name: str, tmp_path: Path) -> None:
    rows = [["image", "sender_id", "label", "kids"], [name, min(TRAINING_SENDERS), "Hoodie", "False"]]
    (tmp_path / "images.csv").write_text("\n".join(map(",".join, rows)))
    with pytest.raises(DataError, match=r"line 2: .* is not a valid name of an image"):
        convert_clothing_dataset(tmp_path, tmp_path / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_fine_tuning_starts_from_the_first_weights_and_keeps_the_photos_logits(tmp_path: Path) -> None:
    labels = list(DATASET_LABELS)
    recipe = dataclasses.replace(
        RECIPES["nano-photos"],
        model_options={"widths": [4, 4, 4]},
        epochs=1,
        batch_size=64,
        epoch_images=128,
        photo_distillation=0.5,
        photo_teacher="other",
    )
    untrained(tmp_path / "start", 0)
    split = find_dataset("sample").load("train")
    photos = load_photo_data(
        dataclasses.replace(recipe, photo_views=2, photo_minimum=1, photo_plain=1, photo_papers=3),
        write_folder(tmp_path / "photos"),
        labels,
        split,
        tmp_path,
    )
    assert photos is not None and len(photos.train.images) == 2 + 9 + 10 + 3, (
        "an image for each class without a photo of its own, one of each class on a plain background, and sheets of paper"
    )
    assert [int(answers.sum()) for answers in photos.train.answers] == [1, 2, *[1] * 19, *[0] * 3]
    start = load_checkpoint(tmp_path / "start")
    training = Training(
        recipe,
        split,
        find_dataset("sample").load("test"),
        tmp_path / "run",
        device=torch.device("cpu"),
        start=start,
        teachers=[load_checkpoint(tmp_path / "start")],
        photo_teachers=[load_checkpoint(untrained(tmp_path / "other", 1))],
        photos=photos,
        description={"labels": labels, "dataset": "sample"},
    )
    first = load_checkpoint(tmp_path / "start").model.state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in training.model.state_dict().items())
    training.run()
    written = load_checkpoint(tmp_path / "run")
    logits, answers = unpack_logits(written.info["photos"])
    expected = predict_logits(written.model, photos.validation.images[:, 0])
    assert np.allclose(logits, expected, atol=1e-2, rtol=1e-3) and np.array_equal(answers, photos.validation.answers)
    assert written.info["teachers"] == [load_checkpoint(tmp_path / name).sha256 for name in ("start", "other")]
    assert training.history[0].photo_accuracy is not None and written.info["photos"]["count"] == 2
