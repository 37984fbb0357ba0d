"""The command ``fmnist-infer``, and modules shared by all commands."""
