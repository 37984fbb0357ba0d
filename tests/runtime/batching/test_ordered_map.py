"""The ordered map where no thread can start."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from fmnist_runtime.batching import ordered_map
from fmnist_runtime.batching.ordered_map import map_ordered


def test_no_thread_at_all_still_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    assert list(map_ordered(lambda some: [2 * each for each in some], range(50), threads=4, chunk=3)) == [
        2 * each for each in range(50)
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_in_a_call_is_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory, it cannot report its error; other threads wait for calls, so not all have ended."""

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("concurrent.futures.Future.set_exception", refuse)
    monkeypatch.setattr(ordered_map, "_CHECK_SECONDS", 0.01)
    with pytest.raises(MemoryError):
        list(map_ordered(lambda some: 1 / 0, range(1), threads=4, chunk=3))


def test_threads_that_end_without_a_result_are_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory, a thread ends before its first statement."""
    monkeypatch.setattr(ordered_map, "_work", lambda function, jobs: None)
    monkeypatch.setattr(ordered_map, "_CHECK_SECONDS", 0.01)
    with pytest.raises(MemoryError):
        list(ordered_map.map_ordered(lambda items: items, range(5), threads=2, chunk=1))


def test_calls_are_stopped_only_where_the_results_end_early() -> None:
    stopped: list[bool] = []

    def results() -> Iterator[int]:
        return map_ordered(lambda items: items, range(50), threads=2, chunk=1, stop=lambda: stopped.append(True))

    assert list(results()) == list(range(50)) and not stopped
    early = results()
    assert next(early) == 0
    early.close()
    assert stopped == [True]


def test_calls_end_before_the_process_does() -> None:
    """Python would end their threads inside onnxruntime, which aborts the process."""
    code = """
import os, time
from fmnist_runtime.batching.ordered_map import map_ordered

def call(items):
    os.write(1, b"(")
    time.sleep(0.3)
    os.write(1, b")")
    return items

results = map_ordered(call, range(50), threads=3, chunk=1)
next(results)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert 3 <= ended.count("(") == ended.count(")")


def test_a_time_limit_of_a_job_is_its_own() -> None:
    def late(items: list[int]) -> list[int]:
        raise TimeoutError("late")

    with pytest.raises(TimeoutError, match="late"):
        list(ordered_map.map_ordered(late, range(5), threads=2, chunk=1))


class EndsAfterTheWait(Future[list[int]]):
    """A job that ends between the end of a wait and the check that follows."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    def result(self, timeout: float | None = None) -> list[int]:
        if self.done():
            return super().result(timeout)
        self.set_exception(self._error) if self._error else self.set_result([7])
        raise TimeoutError


def test_a_job_that_ends_after_the_wait_has_its_own_end() -> None:
    job = ordered_map._Job([])
    job.future = EndsAfterTheWait(None)
    assert ordered_map._wait(job, []) == [7]
    job.future = EndsAfterTheWait(ValueError("its own"))
    with pytest.raises(ValueError, match="its own"):
        ordered_map._wait(job, [])
