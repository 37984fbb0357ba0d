"""A process that classifies pictures for ``workers.py``: settings and pictures come on standard input, answers go back.

Messages are ``marshal``'s bytes behind their length: both ends are the same Python, and pickled answers would take as long
as the network. The process ends when its input does, so none is left over when the one that asked is gone.
"""

import marshal
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from fmnist_runtime import errors
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.prediction import Outcome, Prediction, Top

__all__ = ["error", "failure", "main", "pack", "receive", "send", "unpack"]


def send(file: BinaryIO, message: Any) -> None:
    """Write one message of plain values (None, numbers, text, bytes, tuples, lists, dictionaries)."""
    data = marshal.dumps(message)
    file.write(len(data).to_bytes(4) + data)
    file.flush()


def receive(file: BinaryIO) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side has gone.
    """
    header = file.read(4)
    length = int.from_bytes(header)
    data = file.read(length)
    if len(header) < 4 or len(data) < length:
        raise EOFError
    return marshal.loads(data)


def pack(outcomes: Iterable[Outcome]) -> list[tuple | dict[str, str]]:
    """Outcomes as plain values: a tuple for a prediction, a dictionary for an error."""
    return [failure(each) if isinstance(each, Exception) else _plain(each) for each in outcomes]


def _plain(prediction: Prediction) -> tuple:
    return tuple(prediction._replace(top=[tuple(top) for top in prediction.top]))


def unpack(outcomes: Iterable[tuple | dict[str, str]]) -> list[Outcome]:
    """What ``pack`` has packed; what was a fault is a ``RuntimeError`` with the traceback as its note."""
    return [error(**each) if isinstance(each, dict) else _typed(each) for each in outcomes]


def _typed(values: tuple) -> Prediction:
    return Prediction._make(values)._replace(top=tuple([Top._make(top) for top in values[3]]))


def failure(error: Exception) -> dict[str, str]:
    """An error as plain values, the arguments of ``error``."""
    if isinstance(error, FmnistError):
        return {"kind": type(error).__name__, "message": str(error)}
    from traceback import format_exception, format_exception_only

    message = " ".join("".join(format_exception_only(error)).split())
    return {"message": f"a worker process failed: {message}", "note": "".join(format_exception(error))}


def error(message: str, kind: str = "", note: str = "") -> Exception:
    """What ``failure`` has packed."""
    if kind:
        return getattr(errors, kind)(message)
    fault = RuntimeError(message)
    fault.add_note(note)
    return fault


class _OneLarge:
    """One process at a time decodes a large picture; the system lets go of the lock of a process that was killed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def main() -> None:
    """Serve until the input ends."""
    # Whoever stops a service may tell all its processes at once; the one that asks still has pictures to be answered.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the messages
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, answers)
    os._exit(0)  # nothing is left to write, and to take everything down would take as long as some pictures


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    load, checked, lock = receive(requests)
    from fmnist_runtime.batching.batch import answer_batch
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.image_io import decode as images

    if lock is not None:
        images.one_large = _OneLarge(lock)
    try:
        classifier = Classifier.load(**load)
        if checked:
            from fmnist_runtime.selftest import require_selftest

            require_selftest(classifier)
    except FmnistError as refusal:
        send(answers, failure(refusal))
        return
    send(answers, list(classifier.labels))
    while True:
        pictures, options = receive(requests)
        try:
            reply = pack(answer_batch(classifier, pictures, **options))
        except Exception as fault:  # of the model, not of a picture
            reply = failure(fault)
        send(answers, reply)
