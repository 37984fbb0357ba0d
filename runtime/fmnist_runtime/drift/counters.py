"""What the service counts and ``tally`` reads. Imports nothing, because the service needs no numpy."""

__all__ = ["ANSWERS", "CONFIDENCE", "EDGES", "REJECTED", "STARTED"]

ANSWERS, REJECTED, CONFIDENCE = "fmnist_answers", "fmnist_rejected", "fmnist_confidence"
"""Names of the metrics."""
STARTED = "process_start_time_seconds"
"""prometheus_client's own: another value tells that the counters began again."""

EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Upper edges of the bins of confidence, inclusive; one more bin is above them. Finer where most answers are."""
