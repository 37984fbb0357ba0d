"""Names and bins of the service's counters, which ``counts`` reads. Imports nothing: the service needs no numpy."""

__all__ = ["ANSWERS", "CONFIDENCE", "EDGES", "REJECTED", "STARTED", "label_text"]

ANSWERS, REJECTED, CONFIDENCE = "fmnist_answers", "fmnist_rejected", "fmnist_confidence"
"""Names of the metrics."""
STARTED = "process_start_time_seconds"
"""Start time of the process, a metric of prometheus_client; another value means that the counters restarted at 0."""

EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Upper edges of the confidence bins, inclusive; one more bin is above them. Finer where most answers are."""


def label_text(label: str) -> str:
    """Returns a label that UTF-8 can hold: a class named after a folder may have bytes that are no text."""
    return label.encode("utf-8", "backslashreplace").decode("utf-8")
