"""Hyperparameter search: many short runs of a recipe with other values, of which validation chooses the best."""
