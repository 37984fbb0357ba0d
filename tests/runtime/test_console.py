"""How a command ends: a documented exit code, one line on stderr, no traceback."""

import errno
import importlib
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_runtime import errors
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
        (OSError(errno.EMFILE, "Too many", "a.py"), 1, "error: too many open files: raise their limit (ulimit -n)"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            1,
            "error: runs/x: No space left on device; make space there, then run the command again",
        ),
        (
            OSError(errno.EFBIG, "File too large", "runs/x"),
            1,
            "error: runs/x: File too large; raise the limit on file sizes (ulimit -f)",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 1, "error: runs/x: Permission denied"),
        (TimeoutError(), 1, "error: TimeoutError"),
        (ConnectionResetError(""), 1, "error: ConnectionResetError"),
        (
            BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
            1,
            "error: Resource temporarily unavailable; the limit on processes or threads is reached",
        ),
        (
            SystemError("error return without exception set"),
            1,
            "error: a library cannot be loaded: error return without exception set; memory is short, or the installation damaged",
        ),
        (
            LookupError("unknown encoding: idna"),
            1,
            "error: a library cannot be loaded: unknown encoding: idna; memory is short, or the installation damaged",
        ),
        (MemoryError(), 1, "error: out of memory: the command needs more than is available"),
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


def test_a_library_that_fails_in_its_import_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where memory is short, a library finds others half loaded: any exception may come out of its import."""
    (tmp_path / "half_loaded.py").write_text("import datetime\ndatetime.capi\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run_argparse(lambda args: importlib.import_module("half_loaded").main) == 1
    assert capsys.readouterr().err == (
        "error: a library cannot be loaded: module 'datetime' has no attribute 'capi'; "
        "memory is short, or the installation damaged\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc",
    ],
)
def test_a_library_without_memory_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(RuntimeError(text)) == 1
    assert capsys.readouterr().err == "error: out of memory: the command needs more than is available\n"


def test_a_lack_of_memory_behind_a_library_s_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """PyTorch's exporter raises an error of its own from the MemoryError."""
    error = RuntimeError("Failed to export the model")
    error.__cause__ = MemoryError()
    assert ending(error) == 1
    assert capsys.readouterr().err == "error: out of memory: the command needs more than is available\n"


def test_a_primitive_that_cannot_be_made_is_a_lack_of_memory_under_a_limit_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    error = RuntimeError("could not create a primitive")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4 << 30, resource.RLIM_INFINITY))
    assert ending(error) == 1
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with pytest.raises(RuntimeError):
        ending(error)


ERRORS = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.FmnistError)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_a_long_message_is_cut_in_its_middle_once(kind: type[errors.FmnistError]) -> None:
    message = str(kind(f"file: '{'x' * 2_000_000}' is no name; write another"))
    assert message.startswith("file: 'xxx") and message.endswith("xxx' is no name; write another")
    assert " ... " in message and len(message) <= 1000
    assert str(pickle.loads(pickle.dumps(kind(message)))) == message


def test_a_long_message_of_the_system_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 100_000)) == 1
    printed = capsys.readouterr().err
    assert len(printed) < 1100 and printed.endswith(": File name too long\n")


def test_what_the_command_returns_is_the_exit_code() -> None:
    assert run_argparse(lambda args: 5) == 5 and run_argparse(lambda args: None) == 0
    assert ending(SystemExit(2)) == 2 and ending(SystemExit()) == 0


def test_nouns_follow_their_number() -> None:
    assert [counted(n, "picture") for n in (0, 1, 2000)] == ["0 pictures", "1 picture", "2,000 pictures"]
    assert counted(1, "class", "classes") == "1 class" and counted(2, "class", "classes") == "2 classes"


def test_sigterm_interrupts_a_command_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_argparse(lambda args: signal.raise_signal(signal.SIGTERM)) == 130
    assert capsys.readouterr().err == "interrupted\n" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert run_argparse(lambda args: signal.raise_signal(signal.SIGTERM)) == 0  # the caller handles it
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigterm_ends_a_forked_process_as_usual() -> None:
    def command(args: object) -> int:
        child = os.fork()
        if not child:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert run_argparse(command) == -signal.SIGTERM


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize(
    "module",
    [
        "fmnist_runtime.cli.infer",
        "fmnist_runtime.serve.cli",
        "fmnist_runtime.drift.cli",
        "fmnist_bench.cli",
        "fmnist_train.__main__",
        "fmnist_export.__main__",
    ],
)
def test_help_and_version_that_cannot_be_written(module: str, option: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; from {module} import main; main()", option]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr == b"error: No space left on device\n"


@pytest.mark.parametrize("module", ["fmnist_train", "fmnist_export"])
def test_a_deleted_current_folder_is_one_line(module: str, tmp_path: Path) -> None:
    """PyTorch's MKL reports there that a library cannot be loaded, which exists."""
    pytest.importorskip("torch")
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-m", module, "--data", "sample", "--data-dir", str(tmp_path / "none"), "none"]
    script = 'rmdir "$PWD" && exec "$@"'
    variables = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(["sh", "-c", script, "sh", *command], cwd=gone, env=variables, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: the current folder no longer exists; change to another with cd\n"
