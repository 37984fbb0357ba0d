"""``python -m fmnist_train``: the same as ``fmnist-train``."""

from fmnist_train.cli import main

main()
