"""Command-line options: those that commands share, and those derived from documented dataclass fields."""

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.files import parse_path
from fmnist_runtime.options import order_error
from fmnist_train.recipes import RECIPES, current_name
from fmnist_train.settings import Setting, settings_of

__all__ = [
    "Json",
    "Quiet",
    "chosen_settings",
    "current_recipe",
    "path_argument",
    "path_option",
    "recipe_names",
    "refuse_options",
    "with_settings",
]


def path_option(*names: str, **details: Any) -> Any:
    """Returns a typer option that takes a path, with ``~`` expanded."""
    return typer.Option(*names, parser=_path, metavar="<path>", **details)


def path_argument(metavar: str, **details: Any) -> Any:
    """Returns a typer argument that takes a path, as ``path_option``."""
    return typer.Argument(parser=_path, metavar=metavar, **details)


def _path(text: str) -> Path:
    try:
        return parse_path(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def current_recipe(name: str) -> str:
    """Returns the current name of a recipe, and prints a note on standard error if ``name`` is an earlier one."""
    if (current := current_name(name)) != name:
        print(f"note: the recipe '{name}' is now called '{current}'", file=sys.stderr)
    return current


def recipe_names(beginning: str) -> list[str]:
    """Completes the name of a recipe."""
    return [name for name in sorted(RECIPES) if name.startswith(beginning)]


def _model_names() -> set[str]:
    """Returns the names of all networks, from their recipes: unlike networks, recipes load without PyTorch."""
    return {recipe.model for recipe in RECIPES.values()}


_COMPLETIONS: dict[str, Callable[[], Iterable[str]]] = {
    "data": lambda: ("fashion-mnist", "sample"),
    "device": lambda: ("auto", "cpu", "cuda", "mps"),
    "model": _model_names,
}
"""Values that the shell completes, by name of the field."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def with_settings(function: Callable[..., Any], *owners: type, without: Collection[str] = ()) -> Callable[..., Any]:
    """Returns a typer command with one option for each setting of the dataclasses.

    Args:
        function: Command that takes the options as variable keyword arguments; the value of an absent option is None. A
            parameter of its own with the same name replaces a setting.
        owners: Dataclasses with fields made by ``setting``.
        without: Names of fields that get no option.
    """
    signature = inspect.signature(function, eval_str=True)
    fixed = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    omitted = {*without, *(each.name for each in fixed)}
    derived = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for owner in owners
        for name, annotation in _annotations(owner).items()
        if name not in omitted
    ]

    def command(**given: Any) -> Any:
        return function(**given)

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    parameters = [*fixed, *derived]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def chosen_settings(owner: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a dataclass that were given as options, as values by field name.

    Raises:
        ConfigError: A list contains something other than numbers.
    """
    hints = typing.get_type_hints(owner)
    return {
        name: _value(given[name], _plain(hints[name]), documented.option(name))
        for name, documented in settings_of(owner).items()
        if documented.panel and given.get(name) not in (None, (), [])  # typer gives an empty list for no path
    }


def refuse_options(context: typer.Context, subcommand: str) -> None:
    """Raises an error if options of the main command were given before a subcommand, which would not get them.

    Raises:
        ConfigError: They were.
    """
    options = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        # Compared by name, because the enumeration is click's, or that of typer's copy of click.
        if source and source.name == "COMMANDLINE":
            spellings = parameter.secondary_opts if context.params[name] is False else parameter.opts
            options.append(spellings[0])
    if options:
        raise order_error(f"{context.command_path} {subcommand}", options)


def _value(value: Any, kind: Any, option: str) -> Any:
    """Returns the value of a field from that of its option."""
    if typing.get_origin(kind) is tuple:
        return tuple(value) if kind == tuple[Path, ...] else _numbers(value, typing.get_args(kind)[0], option)
    return value.value if isinstance(value, Enum) else value


def _numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    """Returns ``"32,64"`` as numbers; an empty text gives none.

    Raises:
        ConfigError: A part is not a number.
    """
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option} must be numbers with commas between, as in 32,64; not '{text}'") from None


def _annotations(owner: type) -> dict[str, Any]:
    """Returns the annotation of each option's parameter, by field name."""
    hints, defaults = typing.get_type_hints(owner), {each.name: each.default for each in dataclasses.fields(owner)}
    return {
        name: _annotation(name, _plain(hints[name]), documented, defaults[name])
        for name, documented in settings_of(owner).items()
        if documented.panel
    }


def _annotation(name: str, field_type: Any, documented: Setting, default: Any) -> Any:
    """Returns the annotated type of an option. Its help states the range, which the dataclass checks."""
    kind: Any = field_type
    details: dict[str, Any] = {}
    if documented.choices:
        kind = _enum(name, documented.choices)
    elif kind in (Path, tuple[Path, ...]):
        kind = kind if kind is Path else list[Path]
        details = {"parser": _path, "metavar": "<path>"}
    elif typing.get_origin(kind) is tuple:
        kind, details = str, {"metavar": f"<{typing.get_args(kind)[0].__name__},...>"}
    bounds = documented.bounds()
    option = typer.Option(
        *(documented.names or (documented.option(name),)),
        help=f"{documented.help.removesuffix('.')} ({bounds})." if bounds else documented.help,
        rich_help_panel=documented.panel,
        show_default=_default_text(documented, default),
        autocompletion=_completion(name),
        **details,
    )
    return Annotated[kind | None, option]


def _default_text(documented: Setting, default: Any) -> str | bool:
    """Returns the default for the help; for a pair of flags, the name of the default flag."""
    if documented.show_default is not True:
        return documented.show_default
    if isinstance(default, bool):
        return documented.names[0].split("/")[0 if default else 1].removeprefix("--")
    return str(default)


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """Returns the function by which typer completes a value, or None."""
    if name not in _COMPLETIONS:
        return None

    def complete(beginning: str) -> list[str]:  # typer reads the annotations
        return sorted(value for value in _COMPLETIONS[name]() if value.startswith(beginning))

    return complete


def _enum(name: str, choices: tuple[str, ...]) -> type[Enum]:
    """Returns an enumeration, which typer shows as choices."""
    make: Any = Enum  # type checkers accept literal names only, and here they come from the dataclass
    made: type[Enum] = make(name, dict(zip(choices, choices, strict=True)))
    return made


def _plain(kind: Any) -> Any:
    """Returns the type without None."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind
