"""Command-line options of the runtime's commands: argparse, which Python brings, so that a device installs nothing for it."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import NoReturn

__all__ = ["Options", "positive", "up_to"]


class Options(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose usage errors are one line on stderr and exit code 2; abbreviated options are refused."""

    def __init__(self, **settings: object) -> None:
        # A width that is given, because asking the terminal for it imports what takes longer than all else here.
        formatter = partial(argparse.HelpFormatter, width=100)
        super().__init__(allow_abbrev=False, formatter_class=formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(2, f"error: {message}; {self.prog} --help lists the options\n")


def positive(text: str) -> int:
    """A whole number from 1, for ``type=``.

    Raises:
        ArgumentTypeError: anything else.
    """
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1")
    return int(text)


def up_to(most: int) -> Callable[[str], int]:
    """A whole number from 1 to ``most``, for ``type=``."""

    def number(text: str) -> int:
        if positive(text) > most:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 to {most}")
        return int(text)

    return number
