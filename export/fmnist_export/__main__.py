"""Entry point of ``fmnist-export`` and ``python -m fmnist_export``; prints one line if the extra is missing."""

import sys

import fmnist_runtime
from fmnist_runtime.console import exit_code_of, run_main

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    if sys.argv[1:] == ["--version"]:  # needs no extra
        sys.exit(exit_code_of(lambda: print(fmnist_runtime.__version__)))
    sys.exit(run_main("fmnist_export.cli", extra="export"))


if __name__ == "__main__":
    main()
