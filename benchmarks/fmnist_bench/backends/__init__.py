"""Runtimes as contestants of ``fmnist-bench``, on the same trained weights.

Each module imports its runtime inside its functions, so a runtime that is not installed becomes a missing contestant.
"""
