"""``fmnist-export`` as it is installed, and ``python -m fmnist_export``: where the extra is missing, one line says so."""

import sys
from collections.abc import Sequence

from fmnist_runtime.console import run_app

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    sys.exit(run_app(_export, extra="export"))


def _export(args: Sequence[str] | None) -> None:
    from fmnist_export.cli import main as command

    command()


if __name__ == "__main__":
    main()
