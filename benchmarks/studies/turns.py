"""Contestants that train in turns, each in a process of its own, so that a busy machine hits all alike."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Contestant", "contestants"]

_PAUSE = 0.2  # seconds until the threads of the contestant before have gone to sleep


@dataclass(frozen=True)
class Contestant:
    """The near end of a contestant's process."""

    pipe: Connection

    def turn(self) -> Any:
        """One turn's result; the other contestants wait meanwhile."""
        time.sleep(_PAUSE)
        self.pipe.send(None)
        result = self.pipe.recv()
        if isinstance(result, BaseException):
            raise result
        return result


@contextmanager
def contestants(makers: dict[str, Callable[[], Callable[[], Any]]]) -> Iterator[dict[str, Contestant]]:
    """Start a process for each maker, which returns the function that is called at each turn; end them on the way out."""
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
            process.join(60)  # its DataLoader's workers end first
            process.terminate()


def _serve(maker: Callable[[], Callable[[], Any]], pipe: Connection) -> None:
    turn = None
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        try:
            turn = turn or maker()
            pipe.send(turn())
        except Exception as error:  # the other side raises it
            pipe.send(error)
