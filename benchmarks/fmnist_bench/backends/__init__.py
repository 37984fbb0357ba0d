"""Contestants of ``fmnist-bench``: runtimes on the same trained weights.

Each module imports its runtime inside functions, so that a contestant is only missing if its runtime is not installed.
"""
