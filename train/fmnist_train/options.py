"""Command-line options: those that commands share, and those derived from documented dataclass fields."""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.cpus import MOST_THREADS
from fmnist_runtime.errors import ConfigError
from fmnist_train.files import expand_path
from fmnist_train.recipes import RECIPES, current_name
from fmnist_train.recipes.settings import Setting, settings_of

__all__ = [
    "Data",
    "DataFolder",
    "Device",
    "Json",
    "MixedPrecision",
    "PhotoTeacher",
    "Photos",
    "Quiet",
    "Seed",
    "Start",
    "Teacher",
    "Threads",
    "chosen_settings",
    "current_recipe",
    "devices",
    "parse_numbers",
    "path_option",
    "recipe_names",
    "with_settings",
]

Completion = Callable[[str], list[str]]
"""From the beginning of a value to the values that begin with it."""


def path_option(*names: str, **details: Any) -> Any:
    """Return a typer option that takes a path, with ``~`` expanded."""
    return typer.Option(*names, parser=expand_path, metavar="<path>", **details)


def current_recipe(name: str) -> str:
    """Return the current name of a recipe, for typer's ``callback``; an earlier name gets a line on standard error."""
    if (current := current_name(name)) != name:
        print(f"note: the recipe '{name}' is now called '{current}'", file=sys.stderr)
    return current


def recipe_names(beginning: str) -> list[str]:
    """Completes the name of a recipe."""
    return [name for name in sorted(RECIPES) if name.startswith(beginning)]


def data_names(beginning: str) -> list[str]:
    """Completes the name of a data set."""
    return [name for name in ("fashion-mnist", "sample") if name.startswith(beginning)]


def devices(beginning: str) -> list[str]:
    """Completes the name of a device."""
    return [name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(beginning)]


Data = Annotated[
    str,
    typer.Option(
        help="fashion-mnist, sample (built in, needs no network), or a folder of class folders.",
        autocompletion=data_names,
        rich_help_panel="Data",
    ),
]
DataFolder = Annotated[
    Path | None,
    path_option(help="Folder of the data set's files, IDX or CSV.", show_default=False, rich_help_panel="Data"),
]
Teacher = Annotated[
    list[Path] | None,
    path_option(
        help="Run folder or checkpoint to learn from; several are averaged.",
        show_default=False,
        rich_help_panel="Distillation",
    ),
]
Start = Annotated[
    Path | None,
    path_option(
        help="Run folder or checkpoint with the first weights.",
        show_default=False,
        rich_help_panel="Training",
    ),
]
Photos = Annotated[
    Path | None,
    path_option(
        help="Folder of labeled photos: a table train.csv and the pictures that it names.",
        rich_help_panel="Photos",
    ),
]
PhotoTeacher = Annotated[
    list[Path] | None,
    path_option(
        help="Run folder or checkpoint whose answers to photos are learned; several are averaged.",
        show_default=False,
        rich_help_panel="Photos",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all random draws.", rich_help_panel="Run")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", autocompletion=devices, rich_help_panel="Run")]
MixedPrecision = Annotated[bool, typer.Option(help="Use bfloat16 where the processor has it.", rich_help_panel="Run")]
Threads = Annotated[
    int, typer.Option(min=0, max=MOST_THREADS, help="CPU threads; 0 leaves it to PyTorch.", rich_help_panel="Run")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def with_settings(
    function: Callable[..., Any], *owners: type, completions: Mapping[str, Completion] | None = None
) -> Callable[..., Any]:
    """Give a typer command one option for each setting of the dataclasses.

    Args:
        function: a command that takes the options as its variable keyword arguments; an option that was not given is None.
        owners: dataclasses with fields made by ``setting``.
        completions: functions that complete the values of free text, by field name.
    """
    completions = completions or {}
    signature = inspect.signature(function, eval_str=True)
    fixed = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    derived = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for owner in owners
        for name, annotation in _annotations(owner, completions).items()
    ]

    def command(**given: Any) -> Any:
        return function(**given)

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    parameters = [*fixed, *derived]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def chosen_settings(owner: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a dataclass that were given as options, as values of its fields.

    Raises:
        ConfigError: a list that does not hold numbers.
    """
    chosen = {}
    hints = typing.get_type_hints(owner)
    for name in settings_of(owner):
        value = given.get(name)
        if value is None or not settings_of(owner)[name].panel:
            continue
        kind = _plain(hints[name])
        if typing.get_origin(kind) is tuple:
            value = parse_numbers(value, typing.get_args(kind)[0], f"--{name.replace('_', '-')}")
        chosen[name] = value.value if isinstance(value, Enum) else value
    return chosen


def parse_numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    """Return ``"32,64"`` as numbers; an empty text gives none.

    Raises:
        ConfigError: a part is no number.
    """
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option} must be numbers with commas between, as in 32,64; not '{text}'") from None


def _annotations(owner: type, completions: Mapping[str, Completion]) -> dict[str, Any]:
    """The annotation of each option's parameter, by field name."""
    hints = typing.get_type_hints(owner)
    return {
        name: _annotation(name, _plain(hints[name]), documented, completions.get(name))
        for name, documented in settings_of(owner).items()
        if documented.panel
    }


def _annotation(name: str, field_type: Any, documented: Setting, completion: Completion | None) -> Any:
    """The range is part of the help; it is checked with the dataclass, so that a file and a command agree."""
    kind: Any = field_type
    if documented.choices:
        kind = _enum(name, documented.choices)
    metavar = None
    if typing.get_origin(kind) is tuple:
        kind, metavar = str, f"<{typing.get_args(kind)[0].__name__},...>"
    bounds = documented.bounds()
    option = typer.Option(
        *(documented.names or (f"--{name.replace('_', '-')}",)),
        help=f"{documented.help.removesuffix('.')} ({bounds})." if bounds else documented.help,
        rich_help_panel=documented.panel,
        show_default=False,
        autocompletion=completion,
        metavar=metavar,
    )
    return Annotated[kind | None, option]


def _enum(name: str, choices: tuple[str, ...]) -> type[Enum]:
    """Return an enumeration, which typer shows as choices."""
    make: Any = Enum  # type checkers accept literal names only, and here they come from the dataclass
    made: type[Enum] = make(name, dict(zip(choices, choices, strict=True)))
    return made


def _plain(kind: Any) -> Any:
    """The type without None."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind
