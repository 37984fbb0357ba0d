"""Comparison of recipes: trains missing runs, collects their figures, and writes the table."""
