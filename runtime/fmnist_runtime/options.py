"""Command-line parsers of the runtime, on argparse from the standard library, so that a device installs no other parser."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from fmnist_runtime.errors import ConfigError, printable

__all__ = [
    "CommandParser",
    "add_careful_option",
    "add_model_options",
    "model_arguments",
    "number_between",
    "order_error",
    "path_text",
    "positive_number",
    "sha256_digits",
    "whole_number",
]


_MAX_DIGITS = 100
"""Largest number of digits of an integer option: far fewer than the 4,300 that Python converts."""
_MAX_WAIT = 1_000_000
"""Largest waiting time in seconds, twelve days: the system's clock fails for waits of 300 years."""
_MAX_COLUMNS = 100
"""Largest width of the help in characters: longer lines are hard to read."""
_TABLE_INDENT = 15
"""Column of the descriptions in a table of subcommands."""


_MARK = "\0"
"""Beginning of names that follow ``--``, see ``_mark_names``."""


class _HelpFormatter(argparse.HelpFormatter):
    """Help formatter that keeps the line breaks of the epilog, and does not break names at hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        from textwrap import wrap

        return wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from textwrap import fill

        def wrapped(line: str) -> str:
            following = " " * _TABLE_INDENT if line.startswith("  ") else ""
            return fill(
                line, width, break_on_hyphens=False, initial_indent=indent, subsequent_indent=indent + following
            )

        return "\n".join(wrapped(line) for line in text.splitlines())


class CommandParser(argparse.ArgumentParser):
    """``ArgumentParser`` with one-line usage errors (exit code 2), suggestions, ``--version`` and environment defaults.

    Abbreviated options are refused.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None, *, commands: Iterable[str] = ()) -> None:
        """Creates a parser with ``--help`` and ``--version``.

        Args:
            prog: Name of the command.
            description: First line of the help.
            epilog: Text after the options.
            commands: Names of subcommands, for error messages.
        """
        # A fixed width until the help is printed: reading the terminal's takes longer than the rest of the parser.
        formatter = partial(_HelpFormatter, width=_MAX_COLUMNS)
        super().__init__(prog, None, description, epilog, formatter_class=formatter, allow_abbrev=False)
        self.register("type", Path, _to_path)
        self._commands = tuple(commands)
        self._given: list[str] = []
        self._environment: list[tuple[argparse.Action, str, Any]] = []
        self.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")

    def add_environment_option(self, *names: str, env: str, default: Any = None, help: str, **settings: Any) -> None:
        """Adds an option whose default comes from an environment variable.

        Args:
            names: Names of the option, as for ``add_argument``.
            env: Name of the variable. Its value is converted and checked like the option's; an empty one counts as unset.
            default: Value where neither option nor variable is given.
            help: Text of ``--help``; the name of the variable is added.
            settings: See ``add_argument``.
        """
        action = self.add_argument(*names, default=argparse.SUPPRESS, help=f"{help} [env: {env}]", **settings)
        self._environment.append((action, env, default))

    def format_help(self) -> str:
        """Returns the help in the width of the terminal, at most 100 characters."""
        from shutil import get_terminal_size

        width = min(get_terminal_size((_MAX_COLUMNS, 24)).columns, _MAX_COLUMNS)
        self.formatter_class = partial(_HelpFormatter, width=width)
        if self.usage is not None:  # written by parse_known_intermixed_args, in the greatest width
            self.usage = _wrap_usage(self.prog, self.usage, width)
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        """Prints the help; ``argparse`` would ignore a write that fails."""
        (file or sys.stdout).write(self.format_help())

    def parse_arguments(self, args: Sequence[str] | None = None) -> argparse.Namespace:
        """Parses options and positional arguments in any order; an unknown or malformed one ends the process.

        Args:
            args: Arguments; None: those of the process.
        """
        self._given = _mark_names(sys.argv[1:] if args is None else args)
        chosen, unknown = self.parse_known_intermixed_args(self._given)
        if unknown:
            self.error(self._explain(unknown))
        for name, value in vars(chosen).items():
            setattr(chosen, name, _without_mark(value))
        for action, env, default in self._environment:
            if not hasattr(chosen, action.dest):
                setattr(chosen, action.dest, self._from_environment(action, env, default))
        return chosen

    def error(self, message: str) -> NoReturn:
        """Prints one line on stderr and ends the process with exit code 2."""
        for name in self._given:
            # A pattern of the shell may give a file -q.jpg, which is read as several options or as one with a value.
            if name[:1] == "-" != name and name not in self._option_string_actions and os.path.lexists(name):
                message = f"write ./{name} for the file of that name"
        message = printable(message.replace(_MARK, "").replace(repr(_MARK)[1:-1], ""))
        self.exit(2, f"error: {message}; {self.prog} --help lists the options\n")

    def check_order(self, command: str) -> None:
        """Raises an error if options stand before a word that is the name of a subcommand, and of no file.

        Raises:
            ConfigError: They do; a subcommand is the first argument.
        """
        if command in self._commands and command in self._given and not os.path.lexists(command):
            before = self._given[: self._given.index(command)]
            if options := [argument.partition("=")[0] for argument in before if argument.startswith("-")]:
                raise order_error(f"{self.prog} {command}", options)

    def _explain(self, unknown: list[str]) -> str:
        from difflib import get_close_matches

        commands = {f"--{command}": f"{self.prog} {command}" for command in self._commands}
        known = [
            name for action in self._actions if action.help is not argparse.SUPPRESS for name in action.option_strings
        ]
        options = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        for option in options:
            if near := get_close_matches(option, [*known, *commands], 1, 0.7):
                return f"there is no option {option}; did you mean {commands.get(near[0], near[0])}?"
        for word in unknown:
            self.check_order(word)
        return f"{self.prog} does not take {' '.join(unknown)}: leave out {', '.join(options or unknown)}"

    def _from_environment(self, action: argparse.Action, env: str, default: Any) -> Any:
        text = os.environ.get(env)
        if not text:
            return default
        try:
            return action.type(text) if callable(action.type) else text
        except (argparse.ArgumentTypeError, ValueError) as error:
            self.error(f"environment variable {env}: {error}")


def _to_path(text: str) -> Path:
    """Converts the text of an argument with ``type=Path``; raises an error as ``path_text``."""
    return Path(path_text(text))


def _mark_names(args: Sequence[str]) -> list[str]:
    """Removes the first ``--``, and marks the names after it that begin with ``-`` by a NUL byte, which no argument can have.

    ``parse_known_intermixed_args`` would read them as options.
    """
    if "--" not in args:
        return list(args)
    end = args.index("--")
    return [*args[:end], *(_MARK + name if name.startswith("-") else name for name in args[end + 1 :])]


def _without_mark(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_mark(each) for each in value]
    if isinstance(value, Path):
        return Path(_without_mark(str(value)))
    return value.removeprefix(_MARK) if isinstance(value, str) else value


def _wrap_usage(prog: str, usage: str, width: int) -> str:
    """Breaks a usage text into lines, but not within brackets."""
    indent = " " * len(f"usage: {prog} ")
    lines = [prog]
    for part in re.findall(r"\[[^]]*\]|\S+", usage.removeprefix(prog)):
        if len(lines[-1]) + 1 + len(part) > width - len("usage: ") * (len(lines) == 1):
            lines.append(f"{indent}{part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines)


class _Version(argparse.Action):
    """Prints the version; reads it only then, because ``importlib.metadata`` is slow to import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        import fmnist_runtime

        print(fmnist_runtime.__version__)
        parser.exit()


def order_error(command: str, options: Iterable[str]) -> ConfigError:
    """Returns the error about options that stand before a subcommand.

    Args:
        command: Full name of the subcommand, such as ``fmnist-infer web``.
        options: Names of the options.
    """
    word = command.rpartition(" ")[2]
    return ConfigError(
        f"{', '.join(options)} before {word}: write {command} first, then its options; {command} --help lists them"
    )


def add_model_options(parser: CommandParser) -> None:
    """Adds the options that choose and load a model: the arguments of ``Classifier.load``."""
    from fmnist_runtime.cpus import MAX_THREADS

    add, add_environment = parser.add_argument, parser.add_environment_option
    add_environment(
        "--model",
        env="FMNIST_MODEL",
        help="model file, folder, or name of an embedded model, as fmnist-infer models lists them (default: improved)",
    )
    add_environment(
        "--threads",
        env="FMNIST_THREADS",
        type=whole_number(1, MAX_THREADS),
        default=1,
        metavar="N",
        help="number of threads of one model call (default: 1)",
    )
    add_environment(
        "--provider",
        env="FMNIST_PROVIDER",
        default="cpu",
        help="execution provider of onnxruntime; an unavailable one is an error (default: cpu)",
    )
    add("--sha256", type=sha256_digits, metavar="HASH", help="refuse a model file with another SHA-256")
    add_careful_option(parser)


def add_careful_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--careful``."""
    parser.add_argument(
        "--careful",
        action="store_true",
        help="average four views of each image; slower, and rejects more images without a garment",
    )


def model_arguments(chosen: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of ``Classifier.load`` from the options of ``add_model_options``."""
    names = ("threads", "provider", "sha256", "careful")
    return {"path": chosen.model} | {name: getattr(chosen, name) for name in names}


def path_text(text: str) -> str:
    """Returns a path, URL or ``-``, with a leading ``~`` expanded; for ``type=``.

    Raises:
        ArgumentTypeError: The text is empty.
    """
    from fmnist_runtime.files import parse_path

    try:
        path = parse_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return str(path) if text.startswith("~") else text


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Returns a converter of whole numbers from ``least``, which is 0 or more, to ``most``, for ``type=``."""
    limits = f"from {least}" if most is None else f"from {least} to {most}"

    def number(text: str) -> int:
        value = int(text) if text.isdecimal() and len(text) < _MAX_DIGITS else -1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"'{text[:_MAX_DIGITS]}' is not a whole number {limits}")
        return value

    return number


def positive_number(text: str) -> float:
    """Converts a number over 0, at most ``_MAX_WAIT``; for ``type=``.

    Raises:
        ArgumentTypeError: Any other text.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MAX_WAIT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number over 0 and up to {_MAX_WAIT:,}")
    return value


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Returns a converter of numbers from ``low`` to ``high``, for ``type=``."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {low} to {high}")
        return value

    return number


def sha256_digits(text: str) -> str:
    """Converts a SHA-256 in hexadecimal to lower case; for ``type=``.

    Raises:
        ArgumentTypeError: Any other text.
    """
    digits = text.strip().lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a SHA-256 of 64 hexadecimal digits")
    return digits
