"""Many pictures at once, and their answers in the order of the pictures; memory stays bounded. Imports nothing heavy."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from fmnist_runtime.batching.cpus import available_cpus
from fmnist_runtime.image_io.sources import Source, expand
from fmnist_runtime.prediction import Outcome, Prediction

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Answer", "answer", "in_order", "name_outcomes", "processes_for", "readable"]

_WORTHWHILE = 500
"""From so many pictures on, unasked: to start the processes takes as long as the threads of one take for some hundreds."""


class Answer(NamedTuple):
    """The answer for one picture of many: a prediction, or why there is none."""

    path: str
    """As given, or below the folder given."""
    prediction: Prediction | None
    error: str | None = None


def readable(sources: Iterable[Source]) -> list[str]:
    """The paths of those sources that are pictures to be read."""
    return [source.path for source in sources if source.error is None]


def name_outcomes(sources: Iterable[Source], outcomes: Iterable[Outcome]) -> list[Answer]:
    """An answer for each source, with what those that are ``readable`` came to."""
    left = iter(outcomes)
    return [answer(s.name, next(left)) if s.error is None else Answer(s.name, None, s.error) for s in sources]


def answer(name: str, outcome: Outcome) -> Answer:
    """What the picture of this name came to."""
    return Answer(name, None, str(outcome)) if isinstance(outcome, Exception) else Answer(name, outcome)


def in_order(
    classify: Callable[[list[Source]], list[Answer]],
    sources: Iterable[Source],
    *,
    threads: int,
    chunk: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Answer]:
    """Call ``classify`` with a few pictures at a time, in several threads; yield the answers in the order of the pictures.

    Args:
        classify: what to call; each call gets up to ``chunk`` pictures.
        sources: read no further ahead than two chunks a thread.
        threads: how many calls go on at once.
        chunk: at the beginning it is less, so that the first answers come soon and a few pictures keep all threads busy.
        stop: called at the end, whatever it is; makes calls that still go on come back soon.
    """
    from concurrent.futures import ThreadPoolExecutor

    sources, taken = iter(sources), 0
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[list[Answer]]] = deque()
        try:
            while some := list(islice(sources, min(chunk, 1 + taken // (4 * threads)))):
                taken += len(some)
                waiting.append(pool.submit(classify, some))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()


def processes_for(sources: list[str], asked: int | None) -> int:
    """How many worker processes to start for these sources; 1 means none.

    Args:
        sources: files and folders, or ``-``, which only this process can read.
        asked: the number that is wanted; None: one for each processor, from ``_WORTHWHILE`` pictures on.
    """
    most = asked or available_cpus()
    if most == 1 or "-" in sources:
        return 1
    least = 2 if asked else _WORTHWHILE
    found = sum(1 for _ in islice(expand(sources), max(least, most)))
    return min(most, found) if found >= least else 1
