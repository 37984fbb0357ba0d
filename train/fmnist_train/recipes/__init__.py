"""Recipes: everything that decides a training run, in one frozen value that is stored with the run."""

import dataclasses
from typing import Any

from fmnist_runtime.errors import ConfigError
from fmnist_train.recipes.published import CLAIMS, NAMED
from fmnist_train.recipes.recipe import OPTIMISERS, SCHEDULERS, Augmentation, Recipe, recipe_from_dict

__all__ = ["CLAIMS", "OPTIMISERS", "RECIPES", "SCHEDULERS", "Augmentation", "Recipe", "get_recipe", "recipe_from_dict"]

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in NAMED}


def get_recipe(name: str, **changes: Any) -> Recipe:
    """Return the recipe of that name with the given fields changed; ``None`` leaves a field as it is.

    Raises:
        ConfigError: the name is not known, or the changed recipe cannot be.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'; known recipes: {', '.join(sorted(RECIPES))}")
    given = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(RECIPES[name], **given)
