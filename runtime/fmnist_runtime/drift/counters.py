"""Names and bins of the service's counters, which ``drift.counts`` reads.

Imports no module, because the service imports this one without numpy.
"""

__all__ = ["ANSWERS", "CONFIDENCE", "EDGES", "REJECTED", "STARTED", "UNREADABLE", "label_text"]

ANSWERS, REJECTED, CONFIDENCE = "fmnist_answers", "fmnist_rejected", "fmnist_confidence"
UNREADABLE = "fmnist_unreadable"
"""Names of the metrics."""
STARTED = "process_start_time_seconds"
"""Metric of prometheus_client with the process's start time. Another value means that the counters restarted at 0."""

EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Upper edges of the confidence bins, inclusive; one more bin lies above them. Bins are narrower where most answers lie."""


def label_text(label: str) -> str:
    """Returns a label with characters that UTF-8 cannot encode replaced by escapes.

    A class named after a folder may contain such characters: bytes of a file name that are not valid text.
    """
    return label.encode("utf-8", "backslashreplace").decode("utf-8")
