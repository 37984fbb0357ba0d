"""Looking at a data set."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fmnist_train.data.sources import DataSource, Split, find_dataset
from fmnist_train.evaluation.explore import explore_dataset
from fmnist_train.recipes import Augmentation

PICTURES = {"class_counts.png", "samples.png", "class_means.png", "pixels.png", "transforms.png"}


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    output = tmp_path_factory.mktemp("explore") / "new"
    before = torch.random.get_rng_state()
    result = explore_dataset(find_dataset("sample"), output)
    assert torch.equal(torch.random.get_rng_state(), before)
    return output, result


def test_writes_the_pictures_and_the_figures(explored):
    output, result = explored
    assert {file.name for file in output.iterdir()} == PICTURES | {"explore.json"}
    assert json.loads((output / "explore.json").read_text()) == result
    for name in PICTURES:
        with Image.open(output / name) as image:
            assert min(image.size) > 150
            assert np.ptp(np.asarray(image.convert("L"))) > 200


def test_statistics_are_those_of_the_pixels(explored):
    _, result = explored
    images = find_dataset("sample").load("train").images
    pixels = result["pixels"]
    assert (pixels["images"], pixels["min"], pixels["max"]) == (2000, images.min(), images.max())
    assert pixels["mean"] == pytest.approx(images.mean())
    assert pixels["std"] == pytest.approx(images.std())
    assert pixels["share_of_zeros"] == pytest.approx((images == 0).mean())
    assert result["counts"] == {"train": [200] * 10, "test": [100] * 10}
    assert np.mean([row["mean"] for row in result["classes"]]) == pytest.approx(images.mean())


def test_stages_follow_the_way_through_training(explored):
    stages = {row["stage"]: row for row in explored[1]["transforms"]}
    assert list(stages) == ["file", "batch", "augmented", "normalised"]
    assert stages["batch"]["shape"] == stages["normalised"]["shape"] == [10, 1, 28, 28]
    assert stages["batch"]["dtype"] == "uint8"
    assert stages["augmented"]["max"] <= 255
    assert stages["normalised"]["min"] == pytest.approx(-73 / 90)


def test_classes_of_uneven_size_and_none(tmp_path):
    """Five, one and no image of three classes, one of them with a name that would be a formula."""
    rng = np.random.default_rng(0)

    def load(part: str) -> Split:
        labels = np.array([0, 0, 0, 0, 0, 1])
        return Split(rng.integers(0, 256, (6, 28, 28), np.uint8), labels)

    source = DataSource("own", ("$a$", "b" * 40, "none of it"), "", load)
    result = explore_dataset(source, tmp_path, Augmentation())
    assert result["counts"]["train"] == [5, 1, 0]
    assert result["classes"][2] == {"label": "none of it", "images": 0}
    assert result["transforms"][2]["min"] == result["transforms"][0]["min"]
    assert {file.name for file in tmp_path.iterdir()} >= PICTURES


def test_each_split_is_read_once(tmp_path):
    sample, parts = find_dataset("sample"), []

    def load(part: str) -> Split:
        parts.append(part)
        return sample.load(part)

    explore_dataset(DataSource("own", sample.labels, "", load), tmp_path, Augmentation())
    assert sorted(parts) == ["test", "train"]
