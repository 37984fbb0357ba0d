"""The search space of a recipe, from the ranges of its fields (see ``settings.py``)."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fmnist_runtime.errors import ConfigError
from fmnist_train.files import nearest
from fmnist_train.recipes import Augmentation, Recipe
from fmnist_train.settings import settings_of

__all__ = ["Parameter", "own_values", "rounded", "search_space", "searchable", "suggest", "with_values"]

_DIGITS = 4
"""Significant digits of a tried value. More have no measurable effect and are hard to read in the recipe file."""


@dataclass(frozen=True)
class Parameter:
    """A field that a search changes."""

    name: str
    """Name of the field."""
    help: str
    """Help of the field."""
    own: float
    """Value in the recipe that the search starts from."""
    low: float
    high: float
    """Bounds of the values tried; they include the recipe's own value."""
    log: bool
    """Whether the logarithm is drawn uniformly, instead of the value."""
    whole: bool
    """Whether values are whole numbers."""

    def describe(self) -> str:
        """Returns the range in words."""
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


class _Trial(Protocol):
    """The part of ``optuna.Trial`` that draws values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...
    def suggest_int(self, name: str, low: int, high: int) -> int: ...


def searchable() -> list[str]:
    """Returns the names of all fields with a range."""
    return [name for owner in (Recipe, Augmentation) for name, field in settings_of(owner).items() if field.search]


def search_space(recipe: Recipe, only: Sequence[str] = ()) -> list[Parameter]:
    """Returns the fields of a recipe that a search changes, in the order of the dataclasses.

    Args:
        recipe: Recipe from which the search starts.
        only: Names of fields; empty: all fields with an effect on the recipe.

    Raises:
        ConfigError: A named field has no range, or no effect on this recipe.
    """
    for name in only:
        if name not in searchable():
            raise ConfigError(
                f"no range for '{name}'{nearest(name, searchable())}; fields with one: {', '.join(searchable())}"
            )
    found = [*_parameters(recipe, recipe), *_parameters(recipe.augmentation, recipe)]
    names = [parameter.name for parameter in found]
    for name in only:
        if name not in names:
            raise ConfigError(f"'{name}' has no effect on recipe '{recipe.name}'; fields that have: {', '.join(names)}")
    return [parameter for parameter in found if not only or parameter.name in only]


def _parameters(owner: Recipe | Augmentation, recipe: Recipe) -> list[Parameter]:
    hints = typing.get_type_hints(type(owner))
    found = []
    for name, field in settings_of(owner).items():
        if field.search is None or not field.search.used_by(recipe):
            continue
        own, search = getattr(owner, name), field.search
        low = min(search.low, own) if own or not search.log else search.low  # 0 has no logarithm
        high, whole = max(search.high, own), hints[name] is int
        found.append(Parameter(name, field.help, own, low=low, high=high, log=search.log, whole=whole))
    return found


def suggest(trial: _Trial, space: Sequence[Parameter]) -> dict[str, float]:
    """Draws a value for each parameter."""
    drawn: dict[str, float] = {}
    for each in space:
        if each.whole:
            drawn[each.name] = trial.suggest_int(each.name, int(each.low), int(each.high))
        else:
            drawn[each.name] = trial.suggest_float(each.name, each.low, each.high, log=each.log)
    return rounded(drawn)


def rounded(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns values with floats rounded to four significant digits, as they are tried."""
    return {name: value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}") for name, value in values.items()}


def own_values(space: Sequence[Parameter]) -> dict[str, float]:
    """Returns the recipe's own values within the ranges: on a logarithmic scale, 0 becomes the smallest value."""
    return {parameter.name: max(parameter.own, parameter.low) for parameter in space}


def with_values(recipe: Recipe, values: Mapping[str, Any], name: str | None = None) -> Recipe:
    """Returns a copy of the recipe with other values of searched fields, under another name if one is given."""
    in_images = {each.name for each in dataclasses.fields(Augmentation)}
    images = {key: value for key, value in values.items() if key in in_images}
    changes = {key: value for key, value in values.items() if key not in in_images}
    augmentation = dataclasses.replace(recipe.augmentation, **images)
    return dataclasses.replace(recipe, **changes, augmentation=augmentation, name=name or recipe.name)
