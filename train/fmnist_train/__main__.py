"""``fmnist-train`` as it is installed, and ``python -m fmnist_train``: where the extra is missing, one line says so."""

import sys
from collections.abc import Sequence

from fmnist_runtime.console import run_app

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    sys.exit(run_app(_train, extra="train"))


def _train(args: Sequence[str] | None) -> None:
    from fmnist_train.cli import main as command

    command()


if __name__ == "__main__":
    main()
