"""Many pictures in order, in one process: a thread for each CPU takes a few pictures, decodes them and asks the model."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from fmnist_runtime.batch import classify_prepared
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.folders import Source, count_pictures, expand
from fmnist_runtime.images import open_image
from fmnist_runtime.order import Answer, in_order

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


def _prepare(classifier: Classifier, source: Source, show: str | Path | None) -> np.ndarray | str:
    """What the network sees, or why there is nothing to see."""
    if source.error:
        return source.error
    try:
        if show is None:
            return classifier.prepare(source.path)
        from fmnist_runtime.show import write_comparison

        image = open_image(source.path)
        views = classifier.prepare(image)
        write_comparison(image, views[0], Path(show), source.name)
        return views
    except FmnistError as error:
        return str(error)
    except MemoryError:
        return "the picture needs more memory than there is"


def classify_some(
    classifier: Classifier, sources: list[Source], *, top_k: int, reject: bool, show: str | Path | None
) -> list[Answer]:
    """Classify a few pictures in one call of the model; arguments as for ``classify_all``."""
    prepared = [_prepare(classifier, source, show) for source in sources]
    outcomes = classify_prepared(classifier, prepared, top_k=top_k, reject=reject)
    return [
        Answer(source.name, None, outcome) if isinstance(outcome, str) else Answer(source.name, outcome)
        for source, outcome in zip(sources, outcomes, strict=True)
    ]
