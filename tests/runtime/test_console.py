"""How a command ends: a documented exit code, one line on stderr, no traceback."""

import errno

import pytest

from fmnist_runtime.console import counted, run_argparse
from fmnist_runtime.errors import (
    ConfigError,
    DataError,
    GateError,
    ImageError,
    MissingExtraError,
    ModelError,
    extra_hint,
)


def ending(error: BaseException) -> int:
    def command(args: object) -> int:
        raise error

    return run_argparse(command, extra="train")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ImageError("no picture"), 1, "error: no picture"),
        (ModelError("no model"), 1, "error: no model"),
        (DataError("no data"), 1, "error: no data"),
        (ConfigError("no such option"), 2, "error: no such option"),
        (GateError("not proven"), 3, "error: not proven"),
        (MissingExtraError("not there"), 1, "error: not there"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 1, "error: runs/x: Permission denied"),
        (MemoryError(), 1, "error: this needs more memory than there is"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
        (ImageError("a\nb\x1b[31m"), 1, r"error: a\nb\x1b[31m"),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            1,
            f"error: torch is not installed; this command needs: {extra_hint('train')}",
        ),
    ],
)
def test_errors_end_in_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(error) == code
    assert capsys.readouterr().err == (line + "\n" if line else "")


@pytest.mark.parametrize("error", [ZeroDivisionError(), ModuleNotFoundError("x", name="fmnist_train.gone")])
def test_our_own_faults_are_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        ending(error)


def test_what_the_command_returns_is_the_exit_code() -> None:
    assert run_argparse(lambda args: 5) == 5 and run_argparse(lambda args: None) == 0
    assert ending(SystemExit(2)) == 2 and ending(SystemExit()) == 0


def test_nouns_follow_their_number() -> None:
    assert [counted(n, "picture") for n in (0, 1, 2000)] == ["0 pictures", "1 picture", "2,000 pictures"]
    assert counted(1, "class", "classes") == "1 class" and counted(2, "class", "classes") == "2 classes"
