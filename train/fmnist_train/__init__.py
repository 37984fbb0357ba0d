"""Training: data, models, recipes, the loop, evaluation and pictures (needs the extra ``train``)."""
