"""Recipes as files: what is written is read again, and what cannot be a recipe gives one line."""

import json
import re
import shlex
from pathlib import Path

import pytest

from fmnist_runtime.errors import ConfigError
from fmnist_train.cli import app
from fmnist_train.console import run_typer
from fmnist_train.recipes import RECIPES, get_recipe, read_recipe, save_recipe

MODELS_PAGE = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_holds_the_whole_recipe(name: str, tmp_path: Path) -> None:
    save_recipe(RECIPES[name], tmp_path / "recipe.json")
    assert read_recipe(tmp_path / "recipe.json") == RECIPES[name] == get_recipe(str(tmp_path / "recipe.json"))


def test_a_short_file_has_the_defaults_and_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    path.write_text('{"model": "simple", "learning_rate": 1, "augmentation": {"scale": [0.9, 1.1]}}')
    recipe = read_recipe(path)
    assert (recipe.name, recipe.epochs, recipe.learning_rate) == ("short", 50, 1)
    assert recipe.augmentation.scale == (0.9, 1.1) and recipe.augmentation.flip == 0


def test_what_a_run_stored_is_a_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "stored.json").write_text(json.dumps({**RECIPES["improved-lite"].to_dict(), "teacher_sees": "views"}))
    assert read_recipe(tmp_path / "stored.json") == RECIPES["improved-lite"]


@pytest.mark.parametrize("name", ["best.json", "metrics.json"])
def test_the_description_of_a_run_holds_its_recipe_and_is_not_replaced(name: str, tmp_path: Path) -> None:
    recipe = get_recipe("custom", {"channels": [4]}, epochs=7)
    text = json.dumps({"model": {"name": "custom"}, "recipe": recipe.to_dict(), "epoch": 3})
    (tmp_path / name).write_text(text)
    assert read_recipe(tmp_path / name).to_dict() == recipe.to_dict()
    with pytest.raises(ConfigError, match=f"{name} exists and is no recipe: remove it, or name another file"):
        save_recipe(recipe, tmp_path / name)
    assert (tmp_path / name).read_text() == text


def test_a_recipe_with_teachers_of_unchanged_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stored.json").write_text(json.dumps({**RECIPES["nano"].to_dict(), "teacher_sees": "images"}))
    with pytest.raises(ConfigError, match="remove 'teacher_sees'"):
        read_recipe(tmp_path / "stored.json")


def test_the_example_of_the_guide_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(re.search(r"```json\n(.*?)```", MODELS_PAGE.read_text("utf-8"), re.DOTALL)[1])
    recipe = read_recipe(tmp_path / "mine.json")
    assert recipe.optimizer == "adamw" and recipe.augmentation.erase == 0.3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": "custom", "learning_rat": 1}', "unknown field 'learning_rat' (did you mean 'learning_rate'?)"),
        ('{"model": "custom", "augmentation": {"flipp": 1}}', "unknown field 'flipp' (did you mean 'flip'?)"),
        ('{"model": "custom", "augmentatio": {}}', "did you mean 'augmentation'?"),
        ('{"model": "custom", "epochs": "ten"}', "'epochs' must be a whole number, not \"ten\""),
        ('{"model": "custom", "epochs": 1.5}', "'epochs' must be a whole number, not 1.5"),
        ('{"model": "custom", "flip": true}', "unknown field 'flip'"),
        ('{"model": "custom", "momentum": true}', "'momentum' must be a number, not true"),
        ('{"model": "custom", "monitor": null}', "'monitor' must be a text, not null"),
        ('{"model": "custom", "class_weights": [1, "2"]}', "'class_weights' must be a list of numbers"),
        ('{"model": "custom", "model_options": [1]}', "'model_options' must be an object, not [1]"),
        ('{"model": "custom", "model_options": {"channels": "16,32"}}', "'channels' must be a list of numbers, not"),
        ('{"model": "custom", "model_options": {"batch_norm": 1}}', "'batch_norm' must be true or false, not 1"),
        ('{"model": "custom", "lr": 0.1}', "unknown field 'lr' (did you mean 'learning_rate'?)"),
        ('{"model": "custom", "augmentation": 1}', "'augmentation' must be an object, not 1"),
        ('{"model": "custom", "augmentation": {"scale": [1]}}', "--scale must be two factors"),
        ('{"model": "custom", "epochs": 0}', "--epochs must be at least 1, not 0"),
        ('{"model": "custom", "optimizer": "sgd", "optimiser": "adam"}', "the field 'optimizer' is given twice"),
        ('{"model": "custom", "epochs": 3, "epochs": 9}', "the field 'epochs' is given twice"),
        ('{"model": "custom", "augmentation": {"flip": 0.1, "flip": 0.5}}', "the field 'flip' is given twice"),
        (f'{{"model": "custom", "learning_rate": 1{400 * "0"}}}', "'learning_rate' must be a number, not 100"),
        (f'{{"model": "custom", "epochs": 1{400 * "0"}}}', "--epochs must be a number up to 1e+15"),
        ('{"model": "custom", "learning_rate": NaN}', "not a JSON file (NaN is not a number)"),
        ('{"model": "custom", "name": "../run"}', "the name '../run' must be letters"),
        ('{"model": "custom", "teacher": "mine"}', "'teacher' has no effect without 'distillation'"),
        ('{"model": "custm"}', "unknown model 'custm' (did you mean 'custom'?)"),
        ('{"epochs": 1}', "the field 'model' is missing"),
        ("[1]", "a recipe is a JSON object, not [1]"),
        ("{", "not a JSON file"),
        ("\xff", "not a JSON file"),
    ],
)
def test_what_is_no_recipe_gives_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    assert run_typer(app, args=["--recipe", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ") and message in line


@pytest.mark.slow
def test_the_command_writes_a_file_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--recipe custom --channels 4 --hidden 8 --epochs 1 --flip 0.5 --save-recipe mine.json"
    assert run_typer(app, args=options.split(" ")) == 0
    assert "written to mine.json" in capsys.readouterr().out and not Path("runs").exists()
    assert run_typer(app, args=["--recipe", "mine.json", "--data", "sample", "--epochs", "2", "--quiet", "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)["recipe"]
    assert (stored["name"], stored["epochs"], stored["augmentation"]["flip"]) == ("mine", 2, 0.5)
    assert stored["model_options"] == {"channels": [4], "hidden": [8]} and Path("runs/mine-sample-seed0").is_dir()


def test_the_advice_after_writing_keeps_the_options_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", "my things", "--photos", "photos", "--teacher", "a", "--teacher", "b", "--no-mixed-precision"]
    file = tmp_path / "mine.json"
    assert run_typer(app, args=["--recipe", "custom", "--flip", "0.5", "--save-recipe", str(file), *given]) == 0
    advice = capsys.readouterr().out.strip().partition("train it with: ")[2]
    program, *words = shlex.split(advice)
    assert program == "fmnist-train" and words[:2] == ["--recipe", str(file)] and sorted(words[2:]) == sorted(given)


def test_a_file_that_cannot_be_read_again_is_not_written(tmp_path: Path) -> None:
    for name in ("recipe.txt", "my recipe.json"):
        with pytest.raises(ConfigError):
            save_recipe(get_recipe("custom"), tmp_path / "recipe.txt")
        assert run_typer(app, args=["--save-recipe", str(tmp_path / name)]) == 2
    (tmp_path / "options").mkdir()
    for number, options in enumerate(({"channel": [16]}, {"channels": [0]}, {"kernel": 4}, {"dropout": 1.0})):
        recipe = tmp_path / "options" / f"{number}.json"
        recipe.write_text(json.dumps({"model": "custom", "model_options": options}))
        assert run_typer(app, args=["--recipe", str(recipe), "--save-recipe", str(tmp_path / "new.json")]) == 2
    with pytest.raises(ConfigError, match="no such recipe file"):
        get_recipe(str(tmp_path / "gone.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["options"]


def test_a_recipe_file_of_another_kind_is_not_called_an_unknown_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('model = "custom"')
    with pytest.raises(ConfigError, match=r"^mine\.toml: a recipe file is a JSON object, and its name ends in \.json$"):
        get_recipe("mine.toml")


def test_a_recipe_is_read_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(ConfigError, match=r"large\.json: larger than 1024 KiB, so it is not a recipe"):
        read_recipe(tmp_path / "large.json")
    if Path("/dev/zero").exists():
        with pytest.raises(ConfigError, match="/dev/zero: larger than 1024 KiB"):
            read_recipe("/dev/zero")


def test_a_file_that_is_no_recipe_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "package.json"
    path.write_text('{"name": "mine"}')
    assert run_typer(app, args=["--save-recipe", str(path)]) == 2
    assert f"{path} exists and is no recipe: remove it" in capsys.readouterr().err
    assert path.read_text() == '{"name": "mine"}'
    for epochs in (1, 2):
        save_recipe(get_recipe("custom", epochs=epochs), tmp_path / "own.json")
    assert read_recipe(tmp_path / "own.json").epochs == 2
