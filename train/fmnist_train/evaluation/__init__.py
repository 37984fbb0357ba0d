"""Metrics, plots and reports of trained networks."""
