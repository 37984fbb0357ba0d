"""A folder of one's own pictures as a data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.errors import DataError
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_train.data.sources import find_dataset


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
    assert np.bincount(train.labels).tolist() == [16, 4]
    assert np.bincount(test.labels).tolist() == [4, 1]
    pictures = {image.tobytes() for split in (train, test) for image in split.images}
    assert len(pictures) == 25
    again = find_dataset(str(tmp_path / "shop")).load("test")
    assert np.array_equal(again.images, test.images)


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
    refused(tmp_path / "empty", "one folder of pictures for each class")
    refused(write_pictures(tmp_path / "one", hat=5), "one class folder only")
    refused(write_pictures(tmp_path / "few", hat=5, scarf=1), "too few pictures")
    write_pictures(tmp_path / "half" / "train", hat=2, scarf=2)
    refused(tmp_path / "half", "has a folder 'train' but no folder 'test'")


def test_empty_class_is_refused(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    (folder / "belt").mkdir()
    refused(folder, "belt")


def test_parts_with_other_classes_are_refused(tmp_path, write_pictures):
    write_pictures(tmp_path / "train", hat=2, scarf=2)
    write_pictures(tmp_path / "test", hat=2, belt=2)
    refused(tmp_path, "differ in their classes: belt, scarf")


def test_picture_that_cannot_be_read_is_named(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "shop", hat=5, scarf=5)
    for number in range(5):
        (folder / "hat" / f"{number:03}.png").write_bytes(b"no picture")
    refused(folder, r"hat.00\d\.png: cannot be read as a picture")


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
