"""Help pages of the commands that use typer: panels by topic, with complete option names.

Typer's own panels divide the width among five columns, and in 80 characters shorten names with an ellipsis. Here a panel has
two columns, as in argparse: names with their values, and descriptions. A long name has a line of its own.
"""

import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Command", "Group"]

_NAME_SHARE = 0.42
"""Largest share of a panel's width for the names, so that 44 of 76 characters remain for descriptions."""
_FRAME = 4
"""Characters of a panel's border and of the space inside it."""
_HIDDEN_SPELLINGS = ("--optimiser", "--quantise")
"""Earlier spellings, which still work."""
_RANGES = (
    (r"(\d+)<=x<=(\d+)", r"from \1 to \2"),
    (r"x>=(\d+)", r"at least \1"),
    (r"\[default: \((.*?)\)", r"[default: \1"),
)
"""Patterns of click's notes on ranges, and their replacements."""
_LAST_PANELS = ("Photos", "Distillation", "Options")
"""Panels at the end: topics that few runs need, and the general options."""

Rows = list[tuple[str, str]]
"""Name with its value, and description, of each option or subcommand."""


class Command(TyperCommand):
    """Subcommand whose help has panels in two columns."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help in place of typer's."""
        _print_help(self, ctx)


class Group(TyperGroup):
    """Command with subcommands whose help has panels in two columns."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help in place of typer's."""
        _print_help(self, ctx)


def _print_help(command: Any, context: Any) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(command.get_usage(context), style="bold"))
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for paragraph in paragraphs:
        console.print("\n", Text(" ".join(paragraph.split())), sep="")
    console.print()
    for title, rows in _panels(command, context).items():
        text = _two_columns(rows, console.width - _FRAME)
        console.print(Panel(text, title=title, title_align="left", border_style="dim"))
    if command.epilog:
        console.print(Text(command.epilog))


def _panels(command: Any, context: Any) -> dict[str, Rows]:
    """Returns rows by title: arguments, topics, general options, subcommands."""
    panels: dict[str, Rows] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        argument = isinstance(parameter, TyperArgument)
        title = "Arguments" if argument else (parameter.rich_help_panel or "Options")
        panels.setdefault(title, []).append((_name(record[0]), _description(record[1])))
    panels |= {title: panels.pop(title) for title in _LAST_PANELS if title in panels}
    if isinstance(command, TyperGroup):
        found = {name: command.get_command(context, name) for name in command.list_commands(context)}
        panels["Commands"] = [(name, each.get_short_help_str(200)) for name, each in found.items() if each]
    return panels


def _name(text: str) -> str:
    names, _, rest = text.replace(" range>", ">").partition(" <")
    kept = [name for name in names.split(", ") if name not in _HIDDEN_SPELLINGS]
    return ", ".join(kept) + (f" <{rest}" if rest else "")


def _description(text: str) -> str:
    for pattern, words in _RANGES:
        text = re.sub(pattern, words, text)
    return " ".join(text.split())


def _two_columns(rows: Rows, width: int) -> "Text":
    from rich.text import Text

    left = max((len(name) for name, _ in rows if len(name) <= width * _NAME_SHARE), default=4)
    text = Text(overflow="fold")
    for number, (name, description) in enumerate(rows):
        lines = textwrap.wrap(description, max(width - left - 2, 10), break_on_hyphens=False) or [""]
        if len(name) > left:
            lines = ["", *lines]
        text.append("\n" if number else "").append(name.ljust(left), style="cyan")
        if lines[0]:
            text.append(f"  {lines[0]}")
        for line in lines[1:]:
            text.append(f"\n{' ' * (left + 2)}{line}")
    return text
