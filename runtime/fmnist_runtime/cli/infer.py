"""The command ``fmnist-infer``: finds the subcommand, parses its arguments, and runs it.

Modules that are slow to import are imported where they are used.
"""

import gc
import os
import sys
from collections.abc import Sequence

from fmnist_runtime.cli.parsers import COMMANDS, build_parser
from fmnist_runtime.console import run_argparse, use_one_blas_thread
from fmnist_runtime.streams import keep_stdout

__all__ = ["infer", "main"]

_EARLIER_SPELLINGS = {f"--{name}": name for name in ("web", "selftest", "doctor")}
"""Options of version 0.1 that became subcommands."""


def infer(args: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code.

    Args:
        args: Arguments; None: those of the process.
    """
    name, arguments = _split_command(list(sys.argv[1:] if args is None else args))
    if name is not None:
        from fmnist_runtime.cli.commands import RUNNERS

        return RUNNERS[name](arguments)
    parser = build_parser()
    chosen = parser.parse_arguments(arguments)
    if [*chosen.photos, chosen.files_from].count("-") > 1:
        parser.error("standard input can be read only once; give one -")
    if chosen.photos:
        parser.check_order(chosen.photos[0])
    if chosen.photos and (command := _misspelled_command(chosen.photos[0])):
        parser.error(f"{chosen.photos[0]} is neither a file nor a subcommand; did you mean {command}?")
    if not chosen.photos and chosen.files_from is None and chosen.watch is None:
        parser.error("name at least one image or folder, or - for standard input")
    if chosen.null and chosen.files_from is None:
        parser.error("--null is for --files-from; to read the list from standard input, add --files-from -")
    if chosen.interval is not None and chosen.watch is None:
        parser.error("--interval is for --watch")
    from fmnist_runtime.cli.classify import classify

    return classify(chosen)


def _split_command(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Returns the subcommand (None without one) and its arguments; accepts the options of version 0.1 at any position."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        option, equals, value = argument.partition("=")
        if option in _EARLIER_SPELLINGS:
            rest = [*([value] if equals else []), *arguments[:position], *arguments[position + 1 :]]
            return _EARLIER_SPELLINGS[option], rest
    return None, arguments


def _misspelled_command(word: str) -> str | None:
    """Returns the subcommand that a word of letters resembles; None without one, or if the word is one or names a file."""
    if not word.isalpha() or word in COMMANDS or os.path.lexists(word):
        return None
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, COMMANDS, 1, 0.75)), None)


def main() -> None:
    """Entry point."""
    use_one_blas_thread()
    keep_stdout()
    gc.disable()  # imports create no garbage, and collections during them take time
    sys.exit(run_argparse(infer))
