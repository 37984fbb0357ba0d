"""Many images at once: batches, threads, worker processes and Ray, with results in input order."""
