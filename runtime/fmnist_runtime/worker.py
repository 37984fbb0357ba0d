"""A process that classifies pictures for ``workers.py``: settings and names come on standard input, answers go back.

Messages are ``marshal``'s bytes behind their length: both ends are the same Python, and pickled answers would take as long
as the network. The process ends when its input does, so none is left over when the one that asked is gone.
"""

import marshal
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from fmnist_runtime.order import Answer
from fmnist_runtime.prediction import Prediction, Top

__all__ = ["main", "pack", "receive", "send", "unpack"]


def send(file: BinaryIO, message: Any) -> None:
    """Write one message of plain values (None, numbers, text, tuples, lists, dictionaries)."""
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


def pack(answers: Iterable[Answer]) -> list[tuple]:
    """Answers as plain values."""
    return [(a.path, _plain(a.prediction), a.error) for a in answers]


def _plain(prediction: Prediction | None) -> tuple | None:
    return prediction and tuple(prediction._replace(top=[tuple(top) for top in prediction.top]))


def unpack(answers: Iterable[tuple]) -> list[Answer]:
    """What ``pack`` has packed."""
    return [Answer(path, _typed(prediction), error) for path, prediction, error in answers]


def _typed(values: tuple | None) -> Prediction | None:
    return values and Prediction._make(values)._replace(top=tuple([Top._make(top) for top in values[3]]))


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
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the messages
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, answers)
    os._exit(0)  # nothing is left to write, and to take everything down would take as long as some pictures


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    load, options, lock = receive(requests)
    from fmnist_runtime import images
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.errors import FmnistError
    from fmnist_runtime.folders import Source
    from fmnist_runtime.stream import classify_some

    if lock is not None:
        images.one_large = _OneLarge(lock)
    try:
        classifier = Classifier.load(**load)
        send(answers, None)
        while True:
            sources = [Source(*each) for each in receive(requests)]
            send(answers, pack(classify_some(classifier, sources, **options)))
    except FmnistError as error:
        send(answers, (type(error).__name__, str(error)))
