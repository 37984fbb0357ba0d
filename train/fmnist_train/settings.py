"""Dataclass fields with their help, permitted values and option names.

``setting`` makes such a field, ``check_settings`` checks an instance, and ``options.py`` derives the command-line options.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fmnist_runtime.errors import ConfigError

__all__ = ["LARGEST", "Search", "Setting", "check_settings", "option_words", "setting", "settings_of", "show_number"]

LARGEST = 1e15
"""Largest value of a number without a bound of its own: counts must fit 64 bits, and PyTorch computes in float32."""
_KEY = "setting"
"""Key of the ``Setting`` in a field's metadata."""


@dataclass(frozen=True)
class Search:
    """Range in which ``fmnist-train tune`` searches for a better value of a field."""

    low: float
    """Smallest value tried."""
    high: float
    """Largest value tried."""
    log: bool = False
    """Whether the logarithm of the value is drawn uniformly, instead of the value."""
    used_by: Callable[[Any], bool] = lambda recipe: True
    """Function that returns whether the field has an effect on a recipe, and so should be searched."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Documentation and permitted values of one field."""

    help: str
    """Sentence for the help of the command-line option."""
    panel: str
    """Title of the help panel; empty: the field has no option."""
    ge: float | None = None
    """Smallest permitted value."""
    gt: float | None = None
    """Bound that the value must exceed."""
    le: float | None = None
    """Largest permitted value."""
    lt: float | None = None
    """Bound that the value must stay below."""
    choices: tuple[str, ...] = ()
    """Permitted texts; empty permits all."""
    wording: str = "{}"
    """Phrase around the bounds in an error message, such as ``"{} degrees"``."""
    show_default: bool | str = False
    """Whether the help shows the field's default; a text is shown instead of it."""
    names: tuple[str, ...] = ()
    """Spellings of the option; empty: the field's name with hyphens."""
    stored: str = ""
    """Key in stored recipes; empty: the field's name."""
    search: Search | None = None
    """Range for hyperparameter search; None leaves the field as it is."""

    def bounds(self) -> str:
        """Returns the permitted range in words; an empty text if all values are permitted."""
        if self.ge is not None and self.le is not None:
            return f"from {self.ge:.10g} to {self.le:.10g}"
        if self.gt is not None and self.lt is not None:
            return f"between {self.gt:g} and {self.lt:g}"
        limits = (("at least", self.ge), ("over", self.gt), ("at most", self.le), ("below", self.lt))
        return " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)

    def option(self, name: str) -> str:
        """Returns the name of the option in messages, for a field of that name."""
        return self.names[0].partition("/")[0] if self.names else f"--{name.replace('_', '-')}"

    def permits(self, value: float) -> bool:
        """Returns whether a number is within the bounds; NaN is outside of all bounds."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def setting(default: Any, help: str, *, panel: str, **limits: Any) -> Any:
    """Returns a dataclass field with a ``Setting``; ``limits`` are fields of ``Setting``."""
    return field(default=default, metadata={_KEY: Setting(help=help, panel=panel, **limits)})


def settings_of(owner: Any) -> Mapping[str, Setting]:
    """Returns the settings of a dataclass or of an instance, by field name, in order."""
    return {each.name: each.metadata[_KEY] for each in dataclasses.fields(owner) if _KEY in each.metadata}


def check_settings(instance: Any) -> None:
    """Checks every setting of an instance against its permitted values.

    Raises:
        ConfigError: A value is not permitted; the message contains the option's name.
    """
    for name, documented in settings_of(instance).items():
        option, value = documented.option(name), getattr(instance, name)
        if documented.choices and value not in documented.choices:
            raise ConfigError(f"{option} must be one of {', '.join(documented.choices)}; not '{value}'")
        if isinstance(value, int | float):
            _check_number(option, value, documented)


def option_words(instance: Any, *, without: Collection[str] = ()) -> list[str]:
    """Returns the command-line options of the values that differ from the defaults, as the words of a command.

    Args:
        instance: Instance of a dataclass with settings.
        without: Names of fields to leave out.
    """
    words = list[str]()
    for each in dataclasses.fields(instance):
        value, documented = getattr(instance, each.name), settings_of(instance).get(each.name)
        if documented is None or each.name in without or value == each.default:
            continue
        if isinstance(value, bool):
            words.append(documented.option(each.name) if value else documented.names[0].partition("/")[2])
            continue
        for single in value if isinstance(value, tuple) else (value,):
            words += [documented.option(each.name), str(single)]
    return words


def show_number(value: float) -> str:
    """Returns a number for a message; of a large integer, which ``format`` refuses, the number of digits."""
    large = isinstance(value, int) and abs(value) > LARGEST
    return f"a number of {len(str(abs(value)))} digits" if large else f"{value:g}"


def _check_number(option: str, value: float, documented: Setting) -> None:
    shown = show_number(value)
    bounded_above = documented.le is not None or documented.lt is not None
    if not bounded_above and not value <= LARGEST:  # NaN is not, either
        raise ConfigError(f"{option} must be a number up to {LARGEST:g}, not {shown}")
    if not documented.permits(value):
        raise ConfigError(f"{option} must be {documented.wording.format(documented.bounds())}, not {shown}")
