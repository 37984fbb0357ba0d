"""Worker process that classifies images for ``pool``: requests on standard input, results on standard output.

A message consists of its length and ``marshal`` data: both processes run the same Python, and pickling results would take as
long as the model call. The process ends when its input ends, whatever it does, so it does not outlive the parent.
"""

import marshal
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from fmnist_runtime import errors
from fmnist_runtime.console import describe_library_error, is_library_error
from fmnist_runtime.cpus import limits_address_space, start_threads
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.prediction import Prediction, PredictionOrError, Top

if TYPE_CHECKING:
    from fmnist_runtime.classifier import Classifier

__all__ = ["PackedError", "end_if_stuck", "main", "pack", "pack_error", "receive", "send", "unpack", "unpack_error"]

_STUCK_SECONDS = 10.0
"""Seconds without processor time after which an import of libraries is taken as stuck; reading a slow disk uses some."""
_IDLE_SECONDS = 1e-3
"""Processor time in that interval, seconds, below which nothing happened."""
_TOO_LITTLE = "a worker process needs more memory than is available"
PackedError = dict[str, str]
"""Arguments of ``unpack_error``."""


def send(file: BinaryIO, message: Any) -> None:
    """Writes one message of plain values (None, numbers, text, bytes, tuples, lists, dictionaries)."""
    data = marshal.dumps(message)
    file.write(len(data).to_bytes(4) + data)
    file.flush()


def receive(file: BinaryIO) -> Any:
    """Reads one message.

    Raises:
        EOFError: The other process has ended.
    """
    header = file.read(4)
    length = int.from_bytes(header)
    data = file.read(length)
    if len(header) < 4 or len(data) < length:
        raise EOFError
    return marshal.loads(data)


def pack(results: Iterable[PredictionOrError]) -> list[tuple[Any, ...] | PackedError]:
    """Converts results to plain values: a tuple for a prediction, a dictionary for an error."""
    return [pack_error(each) if isinstance(each, Exception) else _to_tuple(each) for each in results]


def _to_tuple(prediction: Prediction) -> tuple[Any, ...]:
    return (*prediction[:3], [tuple(top) for top in prediction.top], *prediction[4:])


def unpack(results: Iterable[tuple[Any, ...] | PackedError]) -> list[PredictionOrError]:
    """Restores what ``pack`` converted; a defect becomes a ``RuntimeError`` with the traceback as its note."""
    return [unpack_error(**each) if isinstance(each, dict) else _to_prediction(each) for each in results]


def _to_prediction(values: tuple[Any, ...]) -> Prediction:
    prediction = Prediction._make(values)
    return prediction._replace(top=tuple([Top._make(top) for top in prediction.top]))


def pack_error(error: Exception) -> PackedError:
    """Converts an exception to the arguments of ``unpack_error``."""
    if isinstance(error, FmnistError):
        return {"kind": type(error).__name__, "message": str(error)}
    from traceback import format_exception, format_exception_only

    message = " ".join("".join(format_exception_only(error)).split())
    return {"message": f"a worker process failed: {message}", "note": "".join(format_exception(error))}


def unpack_error(message: str, kind: str = "", note: str = "") -> Exception:
    """Restores what ``pack_error`` converted."""
    if kind:
        refusal: Exception = getattr(errors, kind)(message)
        return refusal
    defect = RuntimeError(message)
    defect.add_note(note)
    return defect


class FileLock:
    """Lock between processes. The operating system releases it if its process is killed.

    Args:
        descriptor: An open file that all these processes inherit.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def end_if_stuck(answers: BinaryIO, seconds: float) -> None:
    """Ends this process with an error as its answer if it uses no processor time for ``seconds``; 0 stops watching.

    Where memory runs out in the middle of an import, Python may wait forever for a lock of its own. Only for POSIX.
    """
    used = -1.0

    def check(*_: object) -> None:
        nonlocal used
        before, used = used, time.process_time()
        if used - before < _IDLE_SECONDS:
            send(answers, pack_error(FmnistError(_TOO_LITTLE)))
            os._exit(1)

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, check)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _end_with_input() -> None:
    """Ends this process when its input is closed, while it loads the model, too: a self-test may never end. Only for POSIX."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(0, select.POLLHUP)

    def wait() -> None:
        while not poll.poll():
            pass
        os._exit(0)

    start_threads(wait, 1)


def main() -> None:
    """Answers requests until the input ends."""
    # A service may be stopped by a signal to all its processes, and must still finish its images in progress.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output that a library prints must not get between the messages
    _end_with_input()
    with suppress(EOFError, BrokenPipeError):
        try:
            _serve(sys.stdin.buffer, answers)
        except SystemError:  # of Python itself, where memory runs out while a lack of it is handled
            if not limits_address_space():
                raise
            send(answers, pack_error(FmnistError(_TOO_LITTLE)))
    os._exit(0)  # no output is pending, and the interpreter's shutdown takes as long as some images


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    arguments, checked, lock = receive(requests)
    try:
        end_if_stuck(answers, _STUCK_SECONDS)
        import fmnist_runtime.classifier  # noqa: F401 (the libraries, whose import is what is watched)

        end_if_stuck(answers, 0)
        classifier = _load_classifier(arguments, checked=checked, lock=lock)
    except FmnistError as refusal:
        send(answers, pack_error(refusal))
        return
    except MemoryError:
        send(answers, pack_error(FmnistError(_TOO_LITTLE)))
        return
    except Exception as error:
        if not is_library_error(error):
            raise
        send(answers, pack_error(FmnistError(describe_library_error(error))))
        return
    send(answers, list(classifier.labels))
    _answer_requests(classifier, requests, answers)


def _load_classifier(arguments: dict[str, Any], *, checked: bool, lock: int | None) -> "Classifier":
    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(**arguments, large_lock=None if lock is None else FileLock(lock))
    if checked:
        from fmnist_runtime.selftest import require_selftest

        require_selftest(classifier)
    return classifier


def _answer_requests(classifier: "Classifier", requests: BinaryIO, answers: BinaryIO) -> None:
    """Replies to each request with the packed results and the failure of ``show``, or with an error in place of both."""
    from fmnist_runtime.image_io.comparison_image import ComparisonFolder

    on_input: ComparisonFolder | None = None
    while True:
        images, options = receive(requests)
        show = options.pop("show", None)
        if show is None or on_input is None or on_input.folder != show:
            on_input = None if show is None else ComparisonFolder(show)
        reply: tuple[list[Any], PackedError | None] | PackedError
        try:
            results = pack(classifier.results(images, **options, on_input=on_input))
            failure = None if on_input is None else on_input.failure
            reply = results, None if failure is None else pack_error(failure)
        except Exception as defect:  # the model call failed, not the preparation of one image
            reply = pack_error(defect)
        send(answers, reply)
