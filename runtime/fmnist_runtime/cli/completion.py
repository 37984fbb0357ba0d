"""Completion scripts for bash, zsh and fish, generated from the parsers."""

import argparse
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.options import CommandParser

__all__ = ["Command", "completion_script"]


@dataclass(frozen=True)
class Command:
    """One command to complete."""

    parser: CommandParser
    """Parser of the command; its ``prog`` is the command's name."""
    subcommands: Mapping[str, tuple[str, CommandParser]] = field(default_factory=dict)
    """Help and parser of each subcommand, by name."""


def completion_script(commands: Iterable[Command], shell: str) -> str:
    """Returns the script that completes subcommands, options, names of embedded models, and files.

    Args:
        commands: Commands that the script completes.
        shell: ``bash``, ``zsh`` or ``fish``.
    """
    return "\n".join({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](command) for command in commands)


def _options(parser: CommandParser) -> list[tuple[str, str]]:
    """Returns each option and its help."""
    return [(name, _plain(action.help)) for action in _actions(parser) for name in action.option_strings]


def _actions(parser: CommandParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings and action.help is not argparse.SUPPRESS]


def _plain(text: str | None) -> str:
    """Returns a help text on one line, and without backslashes, which fish interprets between quotes."""
    return " ".join((text or "").replace("\\", " ").split())


def _bash(command: Command) -> str:
    name, function = command.parser.prog, f"_{command.parser.prog.replace('-', '_')}"
    cases = "".join(
        f"        {word}) words={shlex.quote(' '.join(option for option, _ in _options(parser)))} ;;\n"
        for word, (_, parser) in command.subcommands.items()
    )
    return f"""{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words
    case ${{COMP_WORDS[1]}} in
{cases}        *) words={shlex.quote(" ".join(option for option, _ in _options(command.parser)))} ;;
    esac
    if [[ $previous == --model ]]; then
        COMPREPLY=($(compgen -f -W '{" ".join(embedded_models())}' -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [[ $COMP_CWORD == 1 ]]; then
        COMPREPLY=($(compgen -f -W '{" ".join(command.subcommands)}' -- "$current"))
    else
        COMPREPLY=()
    fi
}}
complete -o bashdefault -o default -F {function} {name}
"""


def _zsh(command: Command) -> str:
    name, function = command.parser.prog, f"_{command.parser.prog.replace('-', '_')}"
    cases = "".join(
        f"        {word}) options=({_zsh_list(_options(parser))}) ;;\n"
        for word, (_, parser) in command.subcommands.items()
    )
    words = _zsh_list((word, _plain(text)) for word, (text, _) in command.subcommands.items())
    return f"""{function}() {{
    local -a options commands models
    commands=({words})
    models=({" ".join(embedded_models())})
    case ${{words[2]}} in
{cases}        *) options=({_zsh_list(_options(command.parser))}) ;;
    esac
    if [[ ${{words[CURRENT-1]}} == --model ]]; then
        compadd -a models
        _files
    elif [[ $PREFIX == -* ]]; then
        _describe -o option options
    else
        (( CURRENT == 2 )) && _describe command commands
        _files
    fi
}}
compdef {function} {name}
"""


def _zsh_list(entries: Iterable[tuple[str, str]]) -> str:
    return " ".join(shlex.quote(f"{name}:{text}") for name, text in entries)


def _fish(command: Command) -> str:
    name = command.parser.prog
    words = " ".join(command.subcommands)
    lines = [
        f"complete -c {name} -n __fish_use_subcommand -a {word} -d {shlex.quote(_plain(text))}"
        for word, (text, _) in command.subcommands.items()
    ]
    outside = f" -n 'not __fish_seen_subcommand_from {words}'" if words else ""
    lines += _fish_options(name, outside, command.parser)
    for word, (_, parser) in command.subcommands.items():
        lines += _fish_options(name, f" -n '__fish_seen_subcommand_from {word}'", parser)
    return "\n".join(lines) + "\n"


def _fish_options(name: str, condition: str, parser: CommandParser) -> list[str]:
    lines = []
    for action in _actions(parser):
        flags = " ".join(
            f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}" for option in action.option_strings
        )
        values = f" -a {shlex.quote(' '.join(embedded_models()))}" if "--model" in action.option_strings else ""
        required = "" if action.nargs == 0 else " -r"
        lines.append(f"complete -c {name}{condition} {flags}{required}{values} -d {shlex.quote(_plain(action.help))}")
    return lines
