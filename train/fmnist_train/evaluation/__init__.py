"""Metrics, plots, reports and comparisons of trained networks."""
