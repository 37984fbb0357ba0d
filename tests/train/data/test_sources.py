"""Where data is found, in which order, and the messages where it is not."""

import hashlib
import lzma
import re

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import FashionMNIST

from fmnist_runtime.errors import DataError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.data import sources
from fmnist_train.data.fashion_mnist import CSV_FILES, PUBLISHED, read_idx_part
from fmnist_train.data.sample import write_sample
from fmnist_train.data.sources import SAMPLE_FOLDER, find_dataset


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# -- search order


def test_data_dir_comes_first(tmp_path, bare_machine, write_idx_folder):
    for folder in (tmp_path / "given", bare_machine, tmp_path / "system"):
        write_idx_folder(folder)
    assert find_dataset(data_dir=tmp_path / "given").origin == str(tmp_path / "given")


def test_cache_comes_before_the_system(tmp_path, bare_machine, write_idx_folder):
    for folder in (bare_machine, tmp_path / "system"):
        write_idx_folder(folder)
    assert find_dataset().origin == str(bare_machine)


def test_system_comes_before_a_download(tmp_path, write_idx_folder, mirror, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])
    write_idx_folder(tmp_path / "system")
    assert find_dataset().origin == str(tmp_path / "system")


def test_incomplete_folder_is_passed_over(tmp_path, bare_machine, write_idx_folder):
    write_idx_folder(bare_machine)
    (bare_machine / "t10k-labels-idx1-ubyte.gz").unlink()
    write_idx_folder(tmp_path / "system")
    assert find_dataset().origin == str(tmp_path / "system")


def test_a_damaged_file_in_the_cache_has_a_way_out(tmp_path, bare_machine, write_idx_folder):
    for folder in (bare_machine, tmp_path / "given"):
        write_idx_folder(folder)
        damaged = folder / "train-images-idx3-ubyte.gz"
        damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(DataError, match=r"damaged or incomplete .*; remove the file, and it is looked for elsewhere"):
        find_dataset().load("train")
    with pytest.raises(DataError) as named:
        find_dataset(data_dir=tmp_path / "given").load("train")
    assert "remove the file" not in one_line(named)


def test_torchvision_download_is_found(tmp_path, write_idx_folder):
    raw = write_idx_folder(tmp_path / "data" / "FashionMNIST" / "raw", suffix="")
    assert find_dataset(data_dir=tmp_path / "data").origin == str(raw)


def test_cache_folder_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert sources.cache_folder() == tmp_path / "fmnist-edge" / "fashion-mnist"


def test_cache_folder_of_a_user_without_a_home(tmp_path, monkeypatch):
    """As in a container with ``--user 12345``; platformdirs raises there."""
    monkeypatch.undo()

    def homeless(name):
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_cache_path", homeless)
        patch.chdir(tmp_path)
        assert sources.cache_folder() == tmp_path / ".cache" / "fmnist-edge" / "fashion-mnist"


# -- nothing found


def test_nothing_found_names_all_four_ways(bare_machine):
    with pytest.raises(DataError) as error:
        find_dataset()
    message = one_line(error)
    for way in ("--data-dir", str(bare_machine), "apt-get install dataset-fashion-mnist", "download"):
        assert way in message


def test_wrong_data_dir_is_an_error_even_if_other_places_have_data(tmp_path, bare_machine, write_idx_folder):
    write_idx_folder(bare_machine)
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(DataError) as error:
            find_dataset(data_dir=wrong)
        assert str(wrong) in one_line(error)


@pytest.mark.parametrize("present", [(), ("fashion-mnist_test.csv",)])
def test_a_packed_or_unfinished_file_is_named(present, tmp_path):
    for name in present:
        (tmp_path / name).touch()
    for name, advice in {"fashion-mnist_train.csv.zip": "unpack first", "x.csv.crdownload": "finish or repeat"}.items():
        (tmp_path / name).touch()
        with pytest.raises(DataError) as error:
            find_dataset(data_dir=tmp_path)
        assert re.search(rf"left out 1 .*{re.escape(name)} \({advice}", one_line(error))


def test_a_missing_folder_has_its_probable_cause(tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things.zip").write_bytes(b"PK")
    for name, cause in {
        f"'{tmp_path}/things'": "the quotes are part of the name",
        f"{tmp_path}/things.zip": "unpack it if it is an archive",
        "https://example.org/things.zip": "a web address",
        f"{tmp_path}/things ": "begins or ends with a space",
    }.items():
        with pytest.raises(DataError, match=rf"no data set '.*' \(.*{cause}.*: name fashion-mnist, sample"):
            find_dataset(name)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(DataError) as error:
        find_dataset("mnist")
    assert re.search(r"'mnist'.*fashion-mnist.*sample.*folder", one_line(error))


def test_unknown_part_is_refused():
    with pytest.raises(ValueError, match="train, test"):
        find_dataset("sample").load("validation")


# -- download


@pytest.fixture
def mirror(tmp_path, write_idx_folder, monkeypatch) -> str:
    """A mirror in a folder, and torchvision's checksums changed to fit the small files there."""
    folder = write_idx_folder(tmp_path / "mirror")
    sums = [(file.name, hashlib.md5(file.read_bytes()).hexdigest()) for file in sorted(folder.iterdir())]
    monkeypatch.setattr(FashionMNIST, "resources", sums)
    return folder.as_uri() + "/"


def test_download_fills_the_cache_and_is_used(bare_machine, mirror, small, monkeypatch, capsys):
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])
    source = find_dataset()
    assert source.origin == str(bare_machine)
    assert np.array_equal(source.load("test").images, small["test"].images)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "train-images-idx3-ubyte.gz" in captured.err
    assert len(list(bare_machine.iterdir())) == 4
    monkeypatch.setattr(FashionMNIST, "mirrors", [])
    assert find_dataset().origin == str(bare_machine)


def test_second_mirror_steps_in(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [(tmp_path / "gone").as_uri() + "/", mirror])
    assert len(find_dataset().load("train")) == 60


def test_download_with_a_wrong_checksum_is_not_kept(bare_machine, tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])
    (tmp_path / "mirror" / "train-images-idx3-ubyte.gz").write_bytes(b"a captive portal's page")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz could not be downloaded: its MD5 sum is wrong"):
        find_dataset()
    assert not (bare_machine / "train-images-idx3-ubyte.gz").exists()


def test_interrupted_download_goes_on_with_what_is_missing(bare_machine, tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])
    find_dataset()
    kept = bare_machine / "train-images-idx3-ubyte.gz"
    stamp = kept.stat().st_mtime_ns
    (bare_machine / "t10k-images-idx3-ubyte.gz").unlink()
    find_dataset()
    assert kept.stat().st_mtime_ns == stamp


# -- the sample


def test_sample_is_balanced_and_small():
    source = find_dataset("sample")
    assert (source.name, source.labels) == ("sample", DATASET_LABELS)
    for part, each in (("train", 200), ("test", 100)):
        assert np.bincount(source.load(part).labels).tolist() == [each] * 10
    assert sum(file.stat().st_size for file in SAMPLE_FOLDER.glob("*.gz")) < 1_500_000


@pytest.mark.slow
@pytest.mark.full_data
def test_sample_is_drawn_from_the_real_data_and_can_be_drawn_again(tmp_path, full_data):
    write_sample(full_data, tmp_path)
    for part in ("train", "test"):
        again, shipped = read_idx_part(tmp_path, part, published=False), find_dataset("sample").load(part)
        assert np.array_equal(again.images, shipped.images)
        assert np.array_equal(again.labels, shipped.labels)


@pytest.mark.full_data
def test_full_data_is_the_published_one(full_data, caplog):
    for part, count in (("train", 60_000), ("test", 10_000)):
        split = full_data.load(part)
        assert split.images.shape == (count, 28, 28)
        assert np.bincount(split.labels).tolist() == [count // 10] * 10
    assert caplog.text == ""


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("names", [list(PUBLISHED), list(CSV_FILES.values())], ids=["IDX", "CSV"])
@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><title>404</title></html>", "download the raw file"),
        (lzma.compress(b"x"), "an xz file; unpack it first"),
    ],
)
def test_what_was_saved_in_place_of_the_files_is_named(content, advice, names, suffix, tmp_path):
    for name in names:
        (tmp_path / f"{name}{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=advice) as error:
        find_dataset(data_dir=tmp_path).load("train")
    assert any(f"{name}{suffix}: " in one_line(error) for name in names)


@pytest.mark.parametrize("inner", ["", "FashionMNIST/raw"])
def test_files_given_as_class_folders_are_named(inner, tmp_path, write_idx_folder, write_csv_folder):
    (tmp_path / "idx" / inner).mkdir(parents=True)
    write_idx_folder(tmp_path / "idx" / inner)
    write_csv_folder(tmp_path / "csv" / inner)
    for name in ("idx", "csv"):
        with pytest.raises(
            DataError, match="Fashion-MNIST's files, not class folders: name the folder with --data-dir"
        ):
            find_dataset(str(tmp_path / name))
    file = next(path for path in (tmp_path / "csv").rglob("*.csv"))
    with pytest.raises(DataError, match="IDX and CSV files are read with --data-dir FOLDER"):
        find_dataset(str(file))


@pytest.mark.parametrize("name", ["fashion-mnist", "sample"])
def test_own_images_do_not_get_the_name_of_a_published_data_set(name, tmp_path):
    """The license in a model's metadata depends on the name."""
    for label in ("a", "b"):
        (tmp_path / name / label).mkdir(parents=True)
        for color in (1, 2):
            Image.new("L", (28, 28), color).save(tmp_path / name / label / f"{color}.png")
    assert find_dataset(str(tmp_path / name)).name == f"own-{name}"
