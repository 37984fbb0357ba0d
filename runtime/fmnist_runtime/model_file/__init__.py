"""Model files: where they are, whether they are whole, and the metadata they carry."""
