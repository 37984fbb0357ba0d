"""A folder of one's own pictures as a data set."""

import errno
import hashlib
import os
import re
import sys
import tracemalloc
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.errors import DataError
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_train.data.image_folder import ClassFolders
from fmnist_train.data.sources import find_dataset
from fmnist_train.data.splits import describe_classes, list_classes


@pytest.fixture
def write_pictures(small) -> Callable[..., Path]:
    """Writes real garments as PNG files of 28×28 into class folders."""

    def write(folder: Path, **counts: int) -> Path:
        images = iter(small["train"].images)
        for name, count in counts.items():
            (folder / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(next(images)).save(folder / name / f"{number:03}.png")
        return folder

    return write


def test_labels_are_the_folder_names_in_order(tmp_path, write_pictures):
    source = find_dataset(str(write_pictures(tmp_path / "shop", scarf=5, belt=5, hat=10)))
    assert (source.name, source.labels) == ("shop", ("belt", "hat", "scarf"))


def test_flat_folder_is_divided_by_class(tmp_path, write_pictures):
    source = find_dataset(str(write_pictures(tmp_path / "shop", scarf=5, hat=20)))
    train, test = source.load("train"), source.load("test")
    counts = np.array([np.bincount(split.labels) for split in (train, test)])
    assert counts.shape == (2, 2) and counts.all() and counts.sum(axis=0).tolist() == [20, 5]
    pictures = {image.tobytes() for split in (train, test) for image in split.images}
    assert len(pictures) == 25
    again = find_dataset(str(tmp_path / "shop")).load("test")
    assert np.array_equal(again.images, test.images)


def write_contents(folder: Path, **contents: Sequence[int]) -> Path:
    """Writes files that are told apart by a number; without decoding, any content can stand for an image."""
    for name, numbers in contents.items():
        (folder / name).mkdir(parents=True)
        for number in numbers:
            (folder / name / f"{number}.png").write_bytes(content(number))
    return folder


def content(number: int) -> bytes:
    return f"image {number}".encode()


def sides(folder: Path) -> dict[bytes, set[str]]:
    """Returns the splits of each content."""
    found = defaultdict(set)
    for part, samples in ClassFolders(folder).samples.items():
        for file, _ in samples:
            found[file.read_bytes()].add(part)
    return dict(found)


def fraction(number: int) -> float:
    """Returns the hash of a content as a fraction of the largest."""
    return int(hashlib.sha256(content(number)).hexdigest(), 16) / 2**256


def test_the_test_split_is_a_fifth_of_many_images(tmp_path):
    folder = write_contents(tmp_path / "shop", hat=range(1000), scarf=range(1000, 3000))
    samples = ClassFolders(folder).samples
    tested = {int(file.stem) for file, _ in samples["test"]}
    for numbers in (range(1000), range(1000, 3000)):
        assert 0.17 < len(tested & set(numbers)) / len(numbers) < 0.23
    assert tested == {number for number in range(3000) if fraction(number) < 0.2}
    assert all(label == (int(file.stem) >= 1000) for part in samples.values() for file, label in part)


def test_later_images_move_no_earlier_one_to_the_other_split(tmp_path):
    folder = write_contents(tmp_path / "shop", hat=range(30), scarf=range(30, 70))
    before = sides(folder)
    assert set.union(*before.values()) == {"train", "test"} and all(len(parts) == 1 for parts in before.values())
    for number in range(1000, 1010):  # added
        (folder / "hat" / f"{number}.png").write_bytes(content(number))
    for file in sorted((folder / "scarf").iterdir())[::2]:  # renamed
        file.rename(file.with_name(f"IMG_{file.name}"))
    after = sides(folder)
    assert {key: after[key] for key in before} == before and len(after) == 80
    for file in sorted((folder / "hat").iterdir())[::3]:  # removed
        file.unlink()
    rest = sides(folder)
    assert len(rest) < len(after) and rest == {key: after[key] for key in rest}


def test_copies_in_a_class_are_left_out(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "shop", hat=30, scarf=30)
    before = [find_dataset(str(folder)).load(part) for part in ("train", "test")]
    assert caplog.text == ""
    for number in range(30):
        (folder / "hat" / f"{number:03} (1).png").write_bytes((folder / "hat" / f"{number:03}.png").read_bytes())
    source = find_dataset(str(folder))
    for part, name in zip(before, ("train", "test"), strict=True):
        assert np.array_equal(source.load(name).images, part.images) and np.array_equal(
            source.load(name).labels, part.labels
        )
    assert "left out 30 copies within a class, such as hat/" in caplog.text and " (1).png" in caplog.text


def test_copies_in_a_class_of_given_splits_are_left_out(tmp_path, write_pictures, caplog):
    for split in ("train", "test"):
        hats = write_pictures(tmp_path / split, hat=2, scarf=2) / "hat"
        (hats / "000 - Copy.png").write_bytes((hats / "000.png").read_bytes())
    source = find_dataset(str(tmp_path))
    assert [len(source.load(part)) for part in ("train", "test")] == [4, 4]
    assert "left out 2 copies within a class, such as train/hat/000 - Copy.png" in caplog.text


def test_every_class_has_images_on_both_sides(tmp_path):
    low = sorted((n for n in range(60) if fraction(n) < 0.2), key=fraction)[:3]
    high = sorted((n for n in range(60) if fraction(n) >= 0.2), key=fraction)[:3]
    assert len(low) == len(high) == 3
    found = sides(write_contents(tmp_path / "shop", hat=low, scarf=high))
    assert [found[content(n)] for n in low] == [{"test"}, {"test"}, {"train"}], "the largest hash is trained on"
    assert [found[content(n)] for n in high] == [{"test"}, {"train"}, {"train"}], "the smallest hash is tested"


def test_a_class_of_copies_is_too_small(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=1)
    for number in range(1, 3):
        (folder / "scarf" / f"{number:03}.png").write_bytes((folder / "scarf" / "000.png").read_bytes())
    refused(folder, "too few images .*: 'scarf' has 3, all copies of one another; add some, or make folders")
    for file in (folder / "scarf").iterdir():
        file.write_bytes(b"")
    refused(folder, r"scarf.000\.png: cannot be read as an image \(.*; nor can 2 more: ")


def test_given_parts_are_kept(tmp_path, write_pictures):
    write_pictures(tmp_path / "train", hat=3, scarf=2)
    write_pictures(tmp_path / "test", hat=1, scarf=2)
    source = find_dataset(str(tmp_path))
    assert source.load("train").labels.tolist() == [0, 0, 0, 1, 1]
    assert source.load("test").labels.tolist() == [0, 1, 1]


def test_pictures_become_what_the_device_would_see(tmp_path, write_pictures):
    write_pictures(tmp_path / "train", hat=1, scarf=1)
    write_pictures(tmp_path / "test", hat=1, scarf=1)
    photo = Image.new("RGB", (90, 120), "white")
    photo.paste((20, 40, 90), (20, 30, 70, 110))
    photo.save(tmp_path / "test" / "hat" / "photo.jpg")
    loaded = find_dataset(str(tmp_path)).load("test")
    with Image.open(tmp_path / "test" / "hat" / "photo.jpg") as image:
        assert np.array_equal(loaded.images[1], to_network_input(image))
    with Image.open(tmp_path / "test" / "hat" / "000.png") as image:
        assert np.array_equal(loaded.images[0], np.asarray(image))


def refused(path: Path, message: str, part: str = "train") -> None:
    with pytest.raises(DataError, match=message) as error:
        find_dataset(str(path)).load(part)
    assert "\n" not in str(error.value)


def test_folders_that_are_no_data_set_are_refused(tmp_path, write_pictures):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "one folder of images for each class")
    refused(write_pictures(tmp_path / "one", hat=5), "one class folder only")
    refused(write_pictures(tmp_path / "few", hat=5, scarf=1), "too few images .*: 'scarf' has 1;")
    write_pictures(tmp_path / "half" / "train", hat=2, scarf=2)
    refused(tmp_path / "half", "has a folder 'train' but no folder 'test'")


def test_empty_class_is_refused(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    (folder / "belt").mkdir()
    refused(folder, "belt")


def test_parts_with_other_classes_are_refused(tmp_path, write_pictures):
    write_pictures(tmp_path / "train", hat=2, scarf=2)
    write_pictures(tmp_path / "test", hat=2, belt=2)
    refused(tmp_path, r"differ in their classes: belt \(only in test\), scarf \(only in train\)$")


def test_picture_that_cannot_be_read_is_named(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    for number in range(5):
        (folder / "hat" / f"{number:03}.png").write_bytes(b"no picture")
    refused(folder, r"hat.00\d\.png: cannot be read as an image")


def test_all_unreadable_pictures_are_named_in_one_line(tmp_path, write_pictures):
    write_pictures(tmp_path / "train", hat=30, scarf=5)
    write_pictures(tmp_path / "test", hat=1, scarf=1)
    for number in range(15):
        (tmp_path / "train" / "hat" / f"{number:03}.png").write_bytes(b"%PDF-1.4")
    refused(
        tmp_path,
        r"hat.000\.png: cannot be read as an image \(a PDF.*; nor can 14 more: .*001\.png, .*010\.png, \.\.\.;",
    )


def test_a_folder_in_a_folder_of_its_name_has_a_hint(tmp_path, write_pictures, caplog):
    """A Mac's archive unpacks so, beside a folder __MACOSX."""
    inner = write_pictures(tmp_path / "shop" / "shop", hat=5, scarf=5)
    (tmp_path / "shop" / "__MACOSX").mkdir()
    (inner / ".hidden").mkdir()
    refused(
        tmp_path / "shop", r"one class folder only; .*shop.shop' holds folders itself \(hat, scarf\): name that one"
    )
    assert "same folders" not in caplog.text


def test_names_in_either_unicode_form_are_one_class(tmp_path, write_pictures):
    decomposed, composed = (unicodedata.normalize(form, "Hüte") for form in ("NFD", "NFC"))
    write_pictures(tmp_path / "train", scarf=2, **{decomposed: 2})
    write_pictures(tmp_path / "test", scarf=2, **{composed: 2})
    source = find_dataset(str(tmp_path))
    assert source.labels == (composed, "scarf") and len(source.load("train")) == len(source.load("test")) == 4


def test_classes_have_the_order_of_their_composed_names_in_both_splits(tmp_path, write_pictures):
    decomposed, composed = (unicodedata.normalize(form, "Ärmel") for form in ("NFD", "NFC"))
    write_pictures(tmp_path / "train", scarf=2, **{decomposed: 2})  # sorts before scarf
    write_pictures(tmp_path / "test", scarf=2, **{composed: 2})  # sorts after it
    assert find_dataset(str(tmp_path)).labels == ("scarf", composed)


def test_splits_are_found_in_upper_case_too(tmp_path, write_pictures, caplog):
    write_pictures(tmp_path / "Train", hat=3, scarf=2)
    write_pictures(tmp_path / "TEST", hat=1, scarf=2)
    write_pictures(tmp_path / "valid", hat=1, scarf=1)
    source = find_dataset(str(tmp_path))
    assert source.labels == ("hat", "scarf") and len(source.load("train")) == 5
    advice = "to use images, move them into a class folder"
    assert f"left out 1 folder in no class folder of 'train' or 'test': valid; {advice}" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have one name for such names")
@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        (["Hat", "hat", "scarf"], "differ only in case or spaces: 'Hat', 'hat'"),
        (
            ["I don’t know", "hat"],
            "the class 'I don’t know' has the name that rejected images get in tables; rename it",
        ),
        (["hat ", "hat", "scarf"], "differ only in case or spaces: 'hat', 'hat '"),
        (["seg_test/hat", "seg_test/scarf", "seg_train/hat", "seg_train/scarf"], r"the same folders \(hat, scarf\)"),
        (["hat/train", "hat/test", "scarf/train", "scarf/test"], r"the same folders \(test, train\)"),
    ],
)
def test_probable_mistakes_in_the_layout_are_reported(classes, fault, tmp_path, write_pictures, caplog):
    write_pictures(tmp_path / "shop", **dict.fromkeys(classes, 5))
    find_dataset(str(tmp_path / "shop"))
    assert re.search(fault, caplog.text)


def test_images_outside_the_class_folders_are_reported(tmp_path, write_pictures, caplog):
    write_pictures(tmp_path, hat=5, scarf=5)
    (tmp_path / "hat" / "000.png").rename(tmp_path / "stray.png")
    (tmp_path / "notes.txt").touch()
    find_dataset(str(tmp_path))
    advice = "to use images, move them into a class folder"
    assert f"left out 1 image in no class folder: stray.png; {advice}" in caplog.text
    (tmp_path / "scarf" / "000.png").rename(tmp_path / "tray.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").touch()
    find_dataset(str(tmp_path))
    assert f"left out 1 folder and 2 images in no class folder, such as run; {advice}" in caplog.text


@pytest.mark.parametrize("splits", [False, True])
def test_raw_photos_outside_the_class_folders_are_reported(splits, tmp_path, write_pictures, caplog):
    for split in ("train", "test") if splits else ("",):
        write_pictures(tmp_path / split, hat=5, scarf=5)
    for name in ("IMG_1.CR2", "IMG_2.cr2", ".IMG_3.HEIC.icloud", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "Gloves").write_bytes(b"book\0\0\0\0mark\0\0")
    if splits:
        (tmp_path / "train" / "IMG_4.NEF").touch()
    find_dataset(str(tmp_path))
    count = 3 if splits else 2
    assert f"left out {count} camera raw files, such as {tmp_path / 'IMG_1.CR2'} (export as JPEG" in caplog.text
    assert "1 placeholder of a photo in iCloud" in caplog.text
    assert "1 alias or shortcut, such as " in caplog.text


@pytest.mark.parametrize("run", ["runs/custom-seed0", "run"])
def test_runs_in_the_data_folder_are_no_class(run, tmp_path, write_pictures, caplog):
    write_pictures(tmp_path, hat=5, scarf=5, **{run: 3})
    (tmp_path / run / "best.safetensors").touch()
    assert find_dataset(str(tmp_path)).labels == ("hat", "scarf")
    assert f"left out 1 folder in no class folder: {run.partition('/')[0]}; to use images" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", os.fsdecode(b"\xff")])
def test_classes_that_cannot_be_printed_are_refused(name, tmp_path, write_pictures):
    try:
        folder = write_pictures(tmp_path / "shop", hat=5, **{name: 5})
    except OSError:
        pytest.skip("this file system has no such names")
    refused(folder, "a character that is not shown, or a space of another kind; rename the folder")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_in_warnings_cannot_control_the_terminal(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    content = (folder / "hat" / "003.png").read_bytes()
    for name in ("scarf/a\nerror: \x1b[31mred.png", "hat/.\x1b[2J\n.png"):
        (folder / name).write_bytes(content)
    find_dataset(str(folder))
    assert len(caplog.records) == 2
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_photos_stand_upright(tmp_path, write_pictures):
    """A photo that its camera marked as turned is the same image as one that was taken upright."""
    write_pictures(tmp_path / "train", hat=1, scarf=1)
    write_pictures(tmp_path / "test", hat=1, scarf=1)
    photo = Image.new("RGB", (60, 120), "white")
    photo.paste((20, 40, 90), (10, 20, 30, 110))
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "test" / "hat" / "a.webp", lossless=True)
    turned.save(tmp_path / "test" / "hat" / "b.webp", lossless=True, exif=exif)
    _, upright, marked, _ = find_dataset(str(tmp_path)).load("test").images
    assert np.array_equal(upright, marked)


def test_names_of_systems_and_editors_are_left_out(tmp_path, write_pictures, caplog):
    """A Mac's zip and a notebook leave names behind that once became classes, or stopped training."""
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    for odd in (".ipynb_checkpoints", "__MACOSX", ".Trash-1000"):
        (folder / odd).mkdir()
        Image.new("L", (28, 28)).save(folder / odd / "a.png")
    (folder / "hat" / "._000.png").write_bytes(b"AppleDouble")
    (folder / "hat" / "Thumbs.db").write_bytes(b"thumbnails")
    (folder / "hat" / "__MACOSX").mkdir()
    source = find_dataset(str(folder))
    assert source.labels == ("hat", "scarf")
    assert len(source.load("train")) + len(source.load("test")) == 10
    (record,) = caplog.records
    assert "left out 5 hidden or system names and links to folders, such as" in record.message


def test_links_to_folders_are_not_followed(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    try:
        (folder / "hat" / "all").symlink_to(folder, target_is_directory=True)
        (folder / "everything").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    source = find_dataset(str(folder))
    assert source.labels == ("hat", "scarf")
    assert len(source.load("train")) + len(source.load("test")) == 10
    assert "left out 2 " in caplog.text


def test_links_that_cannot_be_followed_are_left_out(tmp_path, write_pictures, monkeypatch, caplog):
    """Some lead into a private folder; the test simulates it, because no folder is private for the administrator."""
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    try:
        (folder / "hat" / "loop").symlink_to("loop")
        (folder / "private").symlink_to(tmp_path / "private")
    except OSError:
        pytest.skip("links cannot be made here")
    stat = os.stat

    def refuse(path, *arguments, **options):
        if not isinstance(path, int) and Path(path).stem == "private" and options.get("follow_symlinks", True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    source = find_dataset(str(folder))
    assert source.labels == ("hat", "scarf")
    assert len(source.load("train")) + len(source.load("test")) == 10
    (folder / "private.png").symlink_to(tmp_path / "private" / "a.png")
    assert find_dataset(str(folder)).labels == ("hat", "scarf")
    assert "left out 1 image in no class folder: private.png" in caplog.text
    (folder / "hat" / "private.png").symlink_to(tmp_path / "private" / "a.png")
    refused(folder, "private.png: cannot be read")


def test_a_picture_in_two_classes_is_reported(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    (folder / "scarf" / "copy.png").write_bytes((folder / "hat" / "003.png").read_bytes())
    find_dataset(str(folder))
    message = next(record.message for record in caplog.records if "more than one class" in record.message)
    assert "1, such as" in message and "hat/003.png" in message and "scarf/copy.png" in message


def test_a_picture_in_both_splits_is_reported(tmp_path, write_pictures, caplog):
    write_pictures(tmp_path / "train", hat=2, scarf=2)
    write_pictures(tmp_path / "test", hat=2, scarf=2)
    for picture in (tmp_path / "test").rglob("*.png"):
        with Image.open(picture) as image:
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(picture)
    assert find_dataset(str(tmp_path)) and caplog.text == ""
    (tmp_path / "test" / "hat" / "again.png").write_bytes((tmp_path / "train" / "hat" / "000.png").read_bytes())
    find_dataset(str(tmp_path))
    assert "images in both train and test: 1, such as train/hat/000.png and test/hat/again.png" in caplog.text


def test_classes_and_counts_are_one_line():
    assert describe_classes(np.array([0, 1, 1]), ("hat", "scarf")) == "2 classes: hat 1, scarf 2"
    many = tuple(f"c{number}" for number in range(60))
    assert describe_classes(np.arange(60), many).endswith("c49 1, and 10 more")
    assert list_classes(("hat",)) == "1 class (hat)"
    assert list_classes(("hat", "scarf", "shoe", "sock")) == "4 classes (hat, scarf, shoe, and 1 more)"


def test_files_too_large_for_pictures_are_not_read_to_find_copies(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    for name in ("hat/film.gif", "scarf/film.gif"):
        with (folder / name).open("wb") as file:
            file.truncate(1 << 33)  # takes no space on the disk
    tracemalloc.start()
    source = find_dataset(str(folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    for part in ("train", "test"):
        with pytest.raises(DataError, match=r"film\.gif: cannot be read as an image \(larger than 256 MiB: refused\)"):
            source.load(part)


def test_a_class_that_is_still_packed_is_reported(tmp_path, write_pictures, caplog):
    write_pictures(tmp_path, bag=5, boot=5)
    (tmp_path / "shirt.zip").write_bytes(b"PK")
    assert find_dataset(str(tmp_path)).labels == ("bag", "boot")
    assert f"left out 1 archive, such as {tmp_path / 'shirt.zip'} (unpack first)" in caplog.text


def test_raw_photos_in_a_class_folder_are_counted(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    (folder / "hat" / "a.dng").write_bytes(b"II*\0")
    find_dataset(str(folder))
    assert "left out 1 camera raw file, such as" in caplog.text and "export as JPEG" in caplog.text
    (folder / "boot").mkdir()
    (folder / "boot" / "b.nef").write_bytes(b"II*\0")
    with pytest.raises(DataError, match=r"class folder 'boot' \(left out 1 camera raw file, .*export as JPEG"):
        find_dataset(str(folder))


def test_a_damaged_test_image_is_found_before_training(tmp_path, write_pictures):
    """Training once reported it after the last epoch."""
    write_pictures(tmp_path / "train", hat=2, scarf=2)
    write_pictures(tmp_path / "test", hat=2, scarf=2)
    (tmp_path / "test" / "hat" / "001.png").write_bytes(b"no picture")
    refused(tmp_path, r"001\.png: cannot be read as an image \(.*\); replace or remove the file")
    (tmp_path / "train" / "hat" / "000.png").write_bytes(b"no picture")
    refused(tmp_path, r"train.hat.000\.png: cannot be read .*; nor can 1 more: .*test.hat.001\.png; convert or remove")
