"""Data sets: sources, file formats and splits."""
