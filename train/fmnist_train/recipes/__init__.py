"""Recipes: all settings of a training run except data and seed, as a frozen dataclass that is stored with the run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import ConfigError
from fmnist_train.files import nearest
from fmnist_train.recipes.files import is_recipe_file, read_recipe, recipe_from_dict, save_recipe
from fmnist_train.recipes.parts import Augmentation, NetworkOptions
from fmnist_train.recipes.published import CLAIMS, NAMED, RENAMED, current_name
from fmnist_train.recipes.recipe import Recipe

__all__ = [
    "CLAIMS",
    "DEFAULT_RECIPE",
    "RECIPES",
    "RENAMED",
    "Augmentation",
    "NetworkOptions",
    "Recipe",
    "current_name",
    "get_recipe",
    "read_recipe",
    "recipe_from_dict",
    "save_recipe",
]

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in NAMED}
"""All recipes by name."""
DEFAULT_RECIPE = "improved-published"
"""Recipe of commands without ``--recipe``. It needs neither teachers nor photos, and works for any classes."""


def get_recipe(name: str, network: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    """Returns the recipe of that name, or in that file, with the given fields changed; None leaves a field unchanged.

    Args:
        name: A key of ``RECIPES``, an earlier name of one, or the path of a recipe file.
        network: Options of the model to change; another ``model`` starts from its own defaults.
        changes: Fields of the recipe.

    Raises:
        ConfigError: The name is unknown, the file is not a recipe, or the values exclude each other.
    """
    recipe = read_recipe(name) if is_recipe_file(name) else _named(current_name(name))
    given = {key: value for key, value in changes.items() if value is not None}
    kept = recipe.model_options if given.get("model", recipe.model) == recipe.model else {}
    chosen = {key: value for key, value in (network or {}).items() if value is not None}
    return dataclasses.replace(recipe, **given, model_options={**kept, **chosen})


def _named(name: str) -> Recipe:
    if name in RECIPES:
        return RECIPES[name]
    if Path(name).is_file():
        raise ConfigError(f"{name}: a recipe file is a JSON object, and its name ends in .json")
    raise ConfigError(f"unknown recipe '{name}'{nearest(name, RECIPES)}; known recipes: {', '.join(sorted(RECIPES))}")
