"""Comparisons of recipes: their rows, the files they keep, and their table."""
