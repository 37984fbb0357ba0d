"""Entry point of ``fmnist-train`` and ``python -m fmnist_train``; a missing extra gives one line."""

import sys

from fmnist_runtime.console import run_main

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    sys.exit(run_main("fmnist_train.cli", extra="train"))


if __name__ == "__main__":
    main()
