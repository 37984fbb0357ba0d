"""Many pictures in order, in one process: a thread for each CPU takes a few pictures, decodes them and asks the model."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

from fmnist_runtime.batching.batch import answer_batch
from fmnist_runtime.batching.cpus import available_cpus
from fmnist_runtime.batching.ordered_map import Answer, in_order, name_outcomes, readable
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.image_io.sources import Source, count_pictures, expand

__all__ = ["Answer", "classify_all", "classify_some", "count_pictures"]

_CHUNK = 8
"""The most pictures that a thread takes at a time and classifies in one call: more would only delay answers."""


def classify_all(
    classifier: Classifier,
    sources: Iterable[str],
    *,
    top_k: int = 3,
    reject: bool = True,
    show: str | Path | None = None,
    threads: int | None = None,
) -> Iterator[Answer]:
    """Classify files, folders and standard input, in the order given; a bad picture becomes an ``Answer`` with an error.

    Args:
        classifier: what to ask.
        sources: paths; ``-`` is standard input; a folder means all pictures below it, sorted.
        top_k, reject: see ``Classifier.__call__``.
        show: a folder to write, for each picture, a PNG of the photo beside what the network saw.
        threads: how many pictures are worked on at once; None: one for each processor that this process may use.
    """
    names, threads = expand(sources), threads or available_cpus()
    classify = partial(classify_some, classifier, top_k=top_k, reject=reject, show=show)
    first = list(islice(names, 2))
    names = chain(first, names)
    if len(first) > 1 and threads > 1:
        yield from in_order(classify, names, threads=threads, chunk=_CHUNK)
        return
    while some := list(islice(names, _CHUNK)):  # no threads to start
        yield from classify(some)


def classify_some(
    classifier: Classifier, sources: list[Source], *, top_k: int, reject: bool, show: str | Path | None
) -> list[Answer]:
    """Classify a few pictures in one call of the model; arguments as for ``classify_all``."""
    outcomes = answer_batch(classifier, readable(sources), top_k=top_k, reject=reject, show=show)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, FmnistError):
            raise outcome
    return name_outcomes(sources, outcomes)
