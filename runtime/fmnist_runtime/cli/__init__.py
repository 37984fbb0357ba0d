"""The command ``fmnist-infer``, and what all commands share."""
