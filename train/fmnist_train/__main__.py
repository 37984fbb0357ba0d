"""Entry point of ``fmnist-train`` and ``python -m fmnist_train``; prints one line if the extra is missing."""

import sys

import fmnist_runtime
from fmnist_runtime.console import exit_code_of, run_main

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    if sys.argv[1:] == ["--version"]:  # needs no extra
        sys.exit(exit_code_of(lambda: print(fmnist_runtime.__version__)))
    sys.exit(run_main("fmnist_train.cli", extra="train"))


if __name__ == "__main__":
    main()
