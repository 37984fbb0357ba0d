"""Data sets: sources, file formats, class folders and splits."""
