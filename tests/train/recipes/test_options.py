"""Options of a recipe: what is stored, and what is refused."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from fmnist_runtime.errors import ConfigError
from fmnist_train.cli import app
from fmnist_train.console import run_typer
from fmnist_train.recipes import RECIPES, Augmentation, Recipe, get_recipe

QUICK = ("--data", "sample", "--epochs", "1", "--quiet", "--recipe", "custom", "--channels", "4", "--hidden", "8")

PLAIN = Recipe(name="plain", model="custom")


def run(*args: object) -> int:
    return run_typer(app, args=[str(arg) for arg in args])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, not 0"),
        ({"label_smoothing": 1.0}, "--label-smoothing must be at least 0 and below 1, not 1"),
        ({"ema_decay": 1.0}, "--ema-decay must be at least 0 and below 1, not 1"),
        ({"gradient_clip": -1.0}, "--gradient-clip must be at least 0, not -1"),
        ({"class_weights": (0.0, 0.0)}, "class weights"),
        ({"targets": "hard"}, "indices, one-hot, soft"),
        ({"optimizer": "lion"}, "adam, adamw, muon, sgd"),
        ({"warmup": 0.1}, "--scheduler cosine"),
        ({"patience": 3, "validation": 0}, "--validation 0.1"),
        ({"learning_rate": math.nan}, "--learning-rate"),
        ({"mix": 0.0}, "mix"),
        ({"scheduler_factor": 1.5}, "factor"),
        ({"weight_decay": math.nan}, "--weight-decay must be a number"),
        ({"validation": math.inf}, "--validation must be a number"),
        ({"class_weights": (1.0, math.inf)}, "finite"),
        ({"batch_size": 1}, "at least 2"),
        ({"epochs": 10**20}, "--epochs must be a number up to 1e[+]15, not a number of 21 digits"),
        ({"epochs": -(10**400)}, "--epochs must be at least 1, not a number of 401 digits"),
        ({"momentum": 10**400}, "--momentum must be from 0 to 1, not a number of 401 digits"),
        ({"learning_rate": 1e300}, "--learning-rate must be a number up to 1e[+]15, not 1e[+]300"),
        ({"weight_decay": 1e39}, "--weight-decay must be a number up to"),
        ({"class_weights": (1.0, 10**400)}, "finite"),
        ({"mix": 1e-4}, "--mix must be at least 0.01, not 0.0001"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotation": -1.0}, "--rotation must be from 0 to 180 degrees, not -1"),
        ({"translation": math.nan}, "--translation must be a share from 0 to 1, not nan"),
        ({"shift": 28}, "--shift must be from 0 to 27 pixels"),
        ({"scale": (1.1, 0.9)}, "the smaller first, as in 0.9,1.1; not '1.1,0.9'"),
        ({"scale": (1.0,)}, "--scale must be two factors"),
        ({"scale": (0.0, 1.0)}, "over 0"),
        ({"flip": 1.5}, "--flip must be a share"),
        ({"erase": -0.1}, "--erase must be a share"),
        ({"photo": 30.0}, "--photo must be a share"),
        ({"outliers": 2.0}, "--outliers must be a share"),
        ({"scale": (10**400, 1.0)}, "not 'a number of 401 digits,1'"),
    ],
)
def test_augmentation_that_cannot_be_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation(**changes)


def test_another_model_leaves_the_options_of_the_first() -> None:
    assert get_recipe("improved", model="simple").model_options == {}
    assert get_recipe("improved-best", {"head_dropout": 0.1}).model_options == {
        **RECIPES["improved"].model_options,
        "head_dropout": 0.1,
    }


def test_a_run_stores_its_options(tmp_path: Path) -> None:
    options = "--optimizer sgd --momentum 0.8 --scheduler one-cycle --targets soft --ema-decay 0.9 --gradient-clip 1"
    more = (
        "--class-weights 1,1,1,1,1,1,2,1,1,1 --label-smoothing 0.1 --dropout 0 --kernel 5 --monitor loss --tensorboard"
    )
    images = (
        "--rotation 5 --translation 0.05 --shift 1 --scale 0.9,1.1 --flip 0.5 --erase 0.2 --photo 0.1 --outliers 0.1"
    )
    assert run(*QUICK, *options.split(), *more.split(), *images.split(), "--output", tmp_path / "run") == 0
    recipe = json.loads((tmp_path / "run" / "metrics.json").read_text())["recipe"]
    wanted = {"optimiser": "sgd", "momentum": 0.8, "scheduler": "one-cycle", "targets": "soft", "ema_decay": 0.9}
    assert wanted.items() <= recipe.items() and recipe["class_weights"][6] == 2
    assert any(file.stat().st_size > 100 for file in (tmp_path / "run" / "tensorboard").iterdir())
    assert list(recipe["augmentation"].values()) == [5, 0.05, 1, [0.9, 1.1], 0.5, 0.2, 0.1, 0.1, 0]
    assert recipe["model_options"] == {"dropout": 0.0, "kernel": 5, "channels": [4], "hidden": [8]}


def test_an_augmentation_not_named_stays_the_recipes(tmp_path: Path) -> None:
    options = ("--data", "sample", "--epochs", "1", "--quiet", "--recipe", "hybrid", "--model", "feedforward")
    assert run(*options, "--flip", "0", "--output", tmp_path) == 0
    stored = json.loads((tmp_path / "metrics.json").read_text())["recipe"]
    assert stored["augmentation"] == {**dataclasses.asdict(RECIPES["hybrid"].augmentation), "flip": 0, "scale": [1, 1]}


def test_bad_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (("--channels", "many"), "as in 32,64"),
        (("--recipe", "simple", "--channels", "8"), "has no option 'channels'"),
        (("--recipe", "magic"), "known recipes: batchnorm"),
        (("--model", "magic"), "known models: batchnorm"),
        (("--batch-size", "4000"), "lower --batch-size"),
        (("--epoch-images", "100"), "larger than the 100 images of an epoch; lower --batch-size, or raise"),
        (("--epochs", "1" + 400 * "0"), "--epochs must be a number up to 1e+15"),
        (("--dropout", "9"), "--dropout must be at least 0 and below 1, not 9"),
        (("--class-weights", "1,2"), "2 class weights for 10 classes"),
        (("--scale", "0.9"), "--scale must be two factors"),
        (("--scale", "small,large"), "--scale must be numbers"),
        (("--flip", "50"), "--flip must be a share from 0 to 1, not 50"),
        (("--hidden", "99999999999"), "whole numbers from 1 to 65,536"),
        (("--kernel", "29"), "under 28"),
        (("--seed", "9" * 20), "--seed"),
        (("--threads", "100000"), "--threads"),
        (("--data-dir", "nowhere"), "leave --data-dir out"),
    ):
        assert run(*QUICK, *options, "--output", tmp_path / "run") in (1, 2)
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(*QUICK[:-6], "--recipe", "improved-published", "--output", tmp_path / "file" / "run") == 1
    assert "name another folder" in capsys.readouterr().err
