"""Interleaved contestants, each in a process of its own, so that other load on the machine affects all of them alike."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Contestant", "start_contestants"]

_PAUSE = 0.2
"""Seconds before each step, until the threads of the previous contestant have gone to sleep."""
_JOIN = 60
"""Seconds in which a process may end its DataLoader workers before it is terminated."""


@dataclass(frozen=True)
class Contestant:
    """The parent's side of a contestant's process."""

    pipe: Connection

    def step(self) -> Any:
        """Runs one step and returns its result; the other contestants wait.

        Raises:
            Exception: The step failed; the exception is that of the process.
        """
        time.sleep(_PAUSE)
        self.pipe.send(None)
        result = self.pipe.recv()
        if isinstance(result, BaseException):
            raise result
        return result


@contextmanager
def start_contestants(makers: Mapping[str, Callable[[], Callable[[], Any]]]) -> Iterator[dict[str, Contestant]]:
    """Starts a process for each maker and ends them afterwards.

    Args:
        makers: By name, a function that runs once in the process and returns the function of each step.
    """
    context, started = multiprocessing.get_context("spawn"), {}
    processes = []
    for name, maker in makers.items():
        near, far = context.Pipe()
        processes.append(context.Process(target=_serve, args=(maker, far)))
        processes[-1].start()
        started[name] = Contestant(near)
    try:
        yield started
    finally:
        for contestant in started.values():
            contestant.pipe.close()
        for process in processes:
            process.join(_JOIN)
            process.terminate()


def _serve(maker: Callable[[], Callable[[], Any]], pipe: Connection) -> None:
    step = None
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        try:
            step = step or maker()
            pipe.send(step())
        except Exception as error:  # the parent raises it
            pipe.send(error)
