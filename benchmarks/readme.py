"""Putting a measured table into a document of this repository, between the marks that name the script."""

import re
from pathlib import Path

from fmnist_train.files import write_atomically

__all__ = ["write_between"]

README = Path(__file__).resolve().parents[1] / "README.md"


def write_between(name: str, text: str, document: Path = README) -> None:
    """Replace what stands between ``<!-- NAME: written by benchmarks/NAME.py -->`` and ``<!-- end of NAME -->``."""
    begin, end = f"<!-- {name}: written by benchmarks/{name}.py -->", f"<!-- end of {name} -->"
    before = document.read_text("utf-8")
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    after, found = re.subn(pattern, lambda _: f"{begin}\n{text}\n{end}", before, flags=re.S)
    if found != 1:
        raise SystemExit(f"error: {document.name} must hold '{begin}' and '{end}' once")
    write_atomically(document, after)
