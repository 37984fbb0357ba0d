"""Recipes as JSON: files for ``--recipe``, and the form in which runs store them.

Missing fields have their defaults: ``{"model": "custom", "epochs": 20, "augmentation": {"flip": 0.5}}`` is a complete file.
"""

import dataclasses
import json
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import MALFORMED, ConfigError
from fmnist_runtime.files import parse_path, read_at_most, write_atomically
from fmnist_train.files import nearest
from fmnist_train.recipes.parts import Augmentation, NetworkOptions
from fmnist_train.recipes.published import NAMED, current_name
from fmnist_train.recipes.recipe import Recipe
from fmnist_train.settings import settings_of

__all__ = ["is_recipe_file", "read_recipe", "recipe_from_dict", "save_recipe"]

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
"""Form of a recipe's name, which is part of the name of the run's folder."""
_GONE = frozenset({"teacher_sees", "weight_drop", "weight_shares"})
"""Fields of earlier recipes that are ignored, because no recipe used them in the end: averages with the first weights, and
teachers of unchanged images."""
_MAX_BYTES = 1 << 20
"""Largest recipe file, bytes: 300 times a complete recipe."""
_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list of numbers",
    dict: "an object",
    bool: "true or false",
}
"""Names of types in error messages."""


def is_recipe_file(text: str) -> bool:
    """Returns whether a value of ``--recipe`` is a path, which ends in ``.json`` or contains a folder; otherwise it is a name."""
    return text.endswith(".json") or Path(text).name != text


def read_recipe(path: Path | str) -> Recipe:
    """Reads a recipe file, or the recipe in a run's ``best.json`` or ``metrics.json``.

    Without the field ``name``, the recipe is named after the file.

    Raises:
        ConfigError: There is no such file, it is not a JSON object, or it has an unknown field or an impossible value.
    """
    path = parse_path(str(path))
    try:
        values = _read_object(path)
        if isinstance(values.get("recipe"), dict):
            values = values["recipe"]
        if "teacher" in values and "distillation" not in values:
            raise ConfigError(
                "'teacher' has no effect without 'distillation', the weight of its outputs in the loss: set both"
            )
        if values.get("distillation") and values.get("teacher_sees") == "images":
            raise ConfigError("teachers get the changed images now: remove 'teacher_sees'")
        values = _without_gone(values)
        values.setdefault("name", path.stem)
        if "model" not in values:
            raise ConfigError("the field 'model' is missing")
        images = values.pop("augmentation", {})
        if not isinstance(images, dict):
            raise ConfigError(f"'augmentation' must be an object, not {_shown(images)}")
        augmentation = Augmentation(**_checked(Augmentation, images))
        recipe = Recipe(**_checked(Recipe, values), augmentation=augmentation)
        _check_network(recipe)
        _check_names(recipe)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return recipe


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe with all its fields, atomically; ``read_recipe`` is the inverse.

    Raises:
        ConfigError: ``read_recipe`` would refuse the name of the file or of the recipe, or the file exists and is no recipe.
    """
    if path.suffix != ".json":
        raise ConfigError(f"{path}: the name of a recipe file must end in .json")
    _check_names(recipe)
    if path.is_file():
        try:
            read_recipe(path)
            if "recipe" in _read_object(path):
                raise ConfigError("the description of a run")
        except ConfigError as error:
            raise ConfigError(f"{path} exists and is no recipe: remove it, or name another file") from error
    write_atomically(path, json.dumps(dataclasses.asdict(recipe), indent=2) + "\n")


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Rebuilds a recipe that a run stored; fields that are missing have their defaults.

    Raises:
        ConfigError: A field is unknown, or a value is impossible.
    """
    fields = _without_gone(values)
    for name, documented in settings_of(Recipe).items():
        if documented.stored in fields:
            fields[name] = fields.pop(documented.stored)
    try:
        fields |= {name: current_name(fields[name]) for name in ("name", "start") if name in fields}
        augmentation = dict(fields.pop("augmentation"))
        augmentation["scale"] = tuple(augmentation["scale"])
        fields["class_weights"] = tuple(fields.get("class_weights", ()))
        return Recipe(**fields, augmentation=Augmentation(**augmentation))
    except ConfigError:
        raise
    except MALFORMED as error:
        raise ConfigError(f"a stored recipe cannot be read by this version: {error}") from error


def _without_gone(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _GONE}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = read_at_most(file, _MAX_BYTES)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"larger than {_MAX_BYTES >> 10} KiB, so it is not a recipe")
        values = json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_fields_once)
    except ConfigError:
        raise
    except FileNotFoundError:
        raise ConfigError("no such recipe file") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not a JSON file ({error})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"a recipe is a JSON object, not {_shown(values)}")
    return values


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the fields of an object; Python would take the last of two."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ConfigError(f"the field '{name}' is given twice")
        fields[name] = value
    return fields


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _checked(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a dataclass's fields, with lists as tuples where the field is one."""
    hints = {name: hint for name, hint in typing.get_type_hints(owner).items() if name != "augmentation"}
    stored = {documented.stored: name for name, documented in settings_of(owner).items() if documented.stored}
    options = {each.lstrip("-"): name for name, documented in settings_of(owner).items() for each in documented.names}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        name = stored.get(key, key)  # a recipe that a run stored has its own spelling
        if name not in hints:
            meant = options.get(key.replace("_", "-"), key)
            raise ConfigError(f"unknown field '{key}'{nearest(meant, [*hints, 'augmentation'])}")
        if name in checked:
            raise ConfigError(f"the field '{name}' is given twice, as '{key}', too")
        checked[name] = _value(key, hints[name], value)
    return checked


def _value(key: str, hint: Any, value: Any) -> Any:
    """Returns the value as the field holds it."""
    kind = typing.get_origin(hint) or hint
    if kind is tuple:
        part = typing.get_args(hint)[0]
        if isinstance(value, list) and all(_is(part, each) for each in value):
            return tuple(value)
    elif isinstance(kind, type) and issubclass(kind, Mapping):
        kind = dict
        if isinstance(value, dict):
            return value
    elif _is(kind, value):
        return value
    raise ConfigError(f"'{key}' must be {_KINDS[kind]}, not {_shown(value)}")


def _is(kind: type, value: Any) -> bool:
    """Returns whether a JSON value has this type: an integer that a float can hold is also one, and a boolean is neither."""
    if isinstance(value, bool):
        return kind is bool
    if kind is float and isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _check_network(recipe: Recipe) -> None:
    """Checks the types of a network's options; whether it has them, and their ranges, ``build_model`` checks with PyTorch."""
    for name, hint in typing.get_type_hints(NetworkOptions).items():
        if name in recipe.model_options:
            kind, _ = typing.get_args(hint)  # the second is the None of an option not given
            _value(name, kind, recipe.model_options[name])


def _check_names(recipe: Recipe) -> None:
    if not _NAME.fullmatch(recipe.name):
        raise ConfigError(f"the name '{recipe.name}' must be letters, digits, '.', '_' and '-': it names a folder")
    models = sorted({known.model for known in NAMED})  # each network has a recipe, and recipes load without PyTorch
    if recipe.model not in models:
        raise ConfigError(
            f"unknown model '{recipe.model}'{nearest(recipe.model, models)}; known models: {', '.join(models)}"
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
