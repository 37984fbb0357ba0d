"""Entry point of ``fmnist-train`` and ``python -m fmnist_train``; prints one line if the extra is missing."""

import sys

import fmnist_runtime
from fmnist_runtime.console import run_main

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    if sys.argv[1:] == ["--version"]:  # needs no extra
        print(fmnist_runtime.__version__)
        return
    sys.exit(run_main("fmnist_train.cli", extra="train"))


if __name__ == "__main__":
    main()
