"""Published recipes: their fields, names and stored form."""

import json
from pathlib import Path

import pytest

from fmnist_runtime.errors import ConfigError
from fmnist_train.models import build_model, count_parameters
from fmnist_train.recipes import DEFAULT_RECIPE, RECIPES, RENAMED, get_recipe, read_recipe, recipe_from_dict


def test_improved_is_as_published() -> None:
    assert count_parameters(build_model("improved")) == 437_162
    with pytest.raises(ConfigError, match="known models: batchnorm"):
        build_model("vgg")
    with pytest.raises(ConfigError, match="improved-published"):
        get_recipe("nothing")


def test_a_renamed_recipe_keeps_its_stored_runs_and_its_name_as_an_alias() -> None:
    assert RENAMED["improved-best"] == "improved" and "improved-best" not in RECIPES
    assert get_recipe("improved-best", seed=None) == RECIPES["improved"]
    first, second = RECIPES["improved"].to_dict(), RECIPES["improved-photos"].to_dict()
    assert recipe_from_dict({**first, "name": "improved-best"}) == RECIPES["improved"]
    assert recipe_from_dict({**second, "start": "improved-best"}) == RECIPES["improved-photos"]


def test_fields_that_recipes_no_longer_have_are_ignored(tmp_path: Path) -> None:
    gone = {"weight_shares": [0.5, 1.0], "weight_drop": 0.006, "teacher_sees": "views"}
    assert recipe_from_dict({**RECIPES["micro-photos"].to_dict(), **gone}) == RECIPES["micro-photos"]
    (tmp_path / "old.json").write_text(json.dumps({"model": "custom", **gone}))
    assert read_recipe(tmp_path / "old.json").model == "custom"


@pytest.mark.parametrize("fields", [{"name": []}, {"start": {}}, {"augmentation": None}])
def test_a_stored_recipe_with_another_type_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="a stored recipe cannot be read"):
        recipe_from_dict({**RECIPES["nano"].to_dict(), **fields})


def test_the_default_recipe_needs_no_other_run() -> None:
    default = RECIPES[DEFAULT_RECIPE]
    assert not default.distillation and not default.start and not default.photo_share


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name: str) -> None:
    assert recipe_from_dict(RECIPES[name].to_dict()) == RECIPES[name]
