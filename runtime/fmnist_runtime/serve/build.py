"""A service and its classifier, here or in worker processes. Imports the rest of the service while those start."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.prediction import PredictionOrError
from fmnist_runtime.serve.settings import Settings

if TYPE_CHECKING:
    from fmnist_runtime.serve.app import Service

__all__ = ["build"]

_Loaded = tuple[Sequence[str], Callable[..., list[PredictionOrError]], Callable[[], int]]
"""A model's labels, a function like ``Classifier.results``, and how many processes have been replaced."""


@contextmanager
def build(model: str | None, settings: Settings, *, careful: bool = False) -> "Iterator[Service]":
    """Load the model, replay its self-test, and load the page; everything ends with the context.

    Raises:
        ModelError: no such model, or this machine does not compute what the model's author did.
        FmnistError: the worker processes cannot be started.
    """
    data = read_model(find_model(model))
    # A worker may be replaced when the file has long been another one: it must not answer as no other does.
    load = {"path": model, "sha256": sha256(data).hexdigest(), "careful": careful}
    with ExitStack() as stack:
        labels, work, replaced = _here(load) if settings.workers == 1 else _in_processes(settings, load, stack)
        from fmnist_runtime.cli.webpage import page_files
        from fmnist_runtime.serve.app import Service

        service = Service(labels, work, settings, page_files(data), replaced=replaced)
        stack.callback(service.close)
        yield service


def _here(load: dict[str, Any]) -> _Loaded:
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.selftest import require_selftest

    classifier = Classifier.load(**load)
    require_selftest(classifier)
    return classifier.labels, classifier.results, lambda: 0


def _in_processes(settings: Settings, load: dict[str, Any], stack: ExitStack) -> _Loaded:
    from concurrent.futures import ThreadPoolExecutor

    from fmnist_runtime.batching.worker_pool import WorkerPool

    seconds = settings.limits.work_seconds
    workers = stack.enter_context(WorkerPool(settings.workers, load, checked=True, seconds=seconds))
    with ThreadPoolExecutor(1) as thread:
        labels = thread.submit(workers.start)
        import_module("fmnist_runtime.serve.server")  # takes as long as the workers
    return labels.result(), workers.classify, lambda: workers.replaced
