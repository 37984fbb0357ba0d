"""Classification of many sources in threads; the results are in the order of the sources.

An unreadable image becomes an error value.
Imports no numpy and loads no model, because ``workers.pool`` uses this module in a process without them.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from fmnist_runtime.batching.ordered_map import map_ordered
from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.image_io.sources import Source
from fmnist_runtime.prediction import Answer, PredictionOrError

__all__ = ["choose_processes", "classify_sources", "to_answers"]

_CHUNK = 8
"""Images per model call of a thread: larger batches delay answers and are not faster."""
_MANY = 500
"""Smallest number of images for worker processes. Threads classify some hundreds in the time that processes take to start."""

Classify = Callable[[list[Any]], list[PredictionOrError]]
"""Classifies a list of pictures, one result for each: ``Classifier.results``, or a worker process."""


def classify_sources(
    classify: Classify, sources: Iterable[Source], *, threads: int | None = None
) -> Generator[Answer, None, None]:
    """Classifies sources in their order; a picture that cannot be read becomes an ``Answer`` with an error.

    Args:
        classify: Called in each thread with up to 8 pictures.
        sources: Pictures and errors, see ``expand``; read at most two chunks ahead for each thread.
        threads: Number of threads; None: one for each CPU that this process may use.

    Raises:
        Exception: A defect of this project: an exception of ``classify``, or a result that is an exception other than
            ``FmnistError``.
    """
    sources = iter(sources)
    first = list(islice(sources, 2))
    threads = (threads or available_cpus()) if len(first) > 1 else 1
    yield from map_ordered(
        lambda some: to_answers(some, classify), chain(first, sources), threads=threads, chunk=_CHUNK
    )


def to_answers(sources: list[Source], classify: Classify) -> list[Answer]:
    """Classifies the pictures among the sources in one call, and returns one answer for each source.

    Raises:
        Exception: A result of ``classify`` that is an exception other than ``FmnistError``.
    """
    results = classify([source.picture for source in sources if source.error is None])
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, FmnistError):
            raise result
    left = iter(results)
    return [
        Answer.of(source.name, next(left)) if source.error is None else Answer(source.name, None, source.error)
        for source in sources
    ]


def choose_processes(sources: Iterable[Source], requested: int | None) -> tuple[int, Iterator[Source]]:
    """Chooses the number of worker processes; 1 means none.

    Worker processes cannot read standard input: with ``-`` among the sources, request 1.

    Args:
        sources: Only as many are read as the choice depends on.
        requested: Number of processes; None: one for each CPU from ``_MANY`` images on.

    Returns:
        The number of processes, and an iterator over all sources, including those already read.
    """
    most = requested or available_cpus()
    sources = iter(sources)
    if most == 1:
        return 1, sources
    least = 2 if requested else _MANY
    first = list(islice(sources, max(least, most)))
    return (min(most, len(first)) if len(first) >= least else 1), chain(first, sources)
