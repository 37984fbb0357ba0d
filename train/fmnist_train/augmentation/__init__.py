"""Augmentation as batched functions on the training device."""
