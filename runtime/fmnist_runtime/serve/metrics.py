"""Metrics of ``/metrics``: load, and counts of the answers, which ``fmnist-drift`` reads."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fmnist_runtime.drift.counters import ANSWERS, CONFIDENCE, EDGES, REJECTED, UNREADABLE, label_text
from fmnist_runtime.errors import ImageError
from fmnist_runtime.prediction import Prediction, PredictionOrError
from fmnist_runtime.serve.capacity import Capacity

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper edges of the bins of response times: from a cached page file to an overloaded service."""


class Metrics:
    """Metrics of one service, in a registry of their own: several services may run in one process."""

    def __init__(self, labels: Iterable[str], capacity: Capacity, replaced: Callable[[], int] = lambda: 0) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "fmnist_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "fmnist_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(ANSWERS, "Images answered with this label.", ["label"], registry=registry)
        for label in labels:
            self._answers.labels(label_text(label))  # a class without answers is 0, not missing
        self._rejected = Counter(REJECTED, "Images answered with I don't know.", registry=registry)
        self._unreadable = Counter(UNREADABLE, "Images that could not be read.", registry=registry)
        self._faults = Counter("fmnist_faults", "Images for which the service failed.", registry=registry)
        self._confidence = Histogram(
            CONFIDENCE,
            "Calibrated probability of the most probable class, rejected or not.",
            buckets=EDGES,
            registry=registry,
        )
        self._add_gauges(capacity)
        registry.register(_Replaced(replaced))

    def _add_gauges(self, capacity: Capacity) -> None:
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "fmnist_in_flight": ("Requests in flight.", lambda: capacity.in_flight),
            "fmnist_held_bytes": ("Memory of request bodies, bytes.", lambda: capacity.held_bytes),
            "fmnist_pictures_in_flight": ("Images of the requests in flight.", lambda: capacity.pictures),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def results(self, results: Iterable[PredictionOrError]) -> None:
        """Counts the results of images."""
        for result in results:
            if not isinstance(result, Prediction):
                (self._unreadable if isinstance(result, ImageError) else self._faults).inc()
                continue
            self._confidence.observe(result.probability)
            if result.label is None:
                self._rejected.inc()
            else:
                self._answers.labels(label_text(result.label)).inc()

    def text(self) -> bytes:
        """Returns the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Replaced(Collector):
    """Counter whose value is read from a function."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("fmnist_workers_replaced", "Worker processes that died or hung.", value=self._count())
