"""Signals that interrupt a command, also where an exception would be lost."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")
SIGNALS = [signal.SIGINT, signal.SIGTERM]
COMMAND = """
import signal, sys
from fmnist_runtime.console import run_argparse

class Cycle:
    def __del__(self):
        signal.raise_signal(int(sys.argv[1]))

def command(args):
    print("an answer")
    {line}
    print("lost")

sys.exit(run_argparse(command, at_once={at_once}))
"""


def run(folder: Path, line: str, number: int, *, at_once: bool = False) -> "subprocess.CompletedProcess[str]":
    script = folder / "command.py"
    script.write_text(COMMAND.format(line=line, at_once=at_once))
    restore = partial(
        signal.signal, signal.SIGINT, signal.default_int_handler
    )  # a test run in the background ignores it
    return subprocess.run(
        [sys.executable, script, str(int(number))], capture_output=True, text=True, timeout=60, preexec_fn=restore
    )


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("reaction", ["raise ImportError('damaged') from None", "pass"])
def test_a_library_cannot_replace_or_lose_an_interrupt(number: int, reaction: str, tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(
        f"import signal, sys\ntry: signal.raise_signal(int(sys.argv[1]))\nexcept BaseException: {reaction}\n"
    )
    done = run(tmp_path, "import library", number)
    assert (done.returncode, done.stdout, done.stderr) == (130, "an answer\n", "interrupted\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_with_nothing_to_lose_ends_in_a_callback_too(number: int, tmp_path: Path) -> None:
    """Python reports an exception of ``__del__`` and of callbacks, and goes on."""
    done = run(tmp_path, "Cycle()", number, at_once=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "an answer\n", "interrupted\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_other_commands_clean_up(number: int, tmp_path: Path) -> None:
    line = "try: signal.raise_signal(int(sys.argv[1]))\n    finally: print('cleaned up')"
    done = run(tmp_path, line, number)
    assert (done.returncode, done.stdout, done.stderr) == (130, "an answer\ncleaned up\n", "interrupted\n")


def test_a_signal_that_the_parent_ignores_stays_ignored(tmp_path: Path) -> None:
    line = "signal.signal(signal.SIGINT, signal.SIG_IGN); sys.exit(run_argparse(lambda args: Cycle()))"
    done = run(tmp_path, line, signal.SIGINT)
    assert (done.returncode, done.stderr) == (0, "")
