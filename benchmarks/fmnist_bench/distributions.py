"""Installed size of a contestant: the files of its distributions and of all that they require."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["closure", "installed_bytes"]


def closure(packages: tuple[str, ...]) -> list[str]:
    """Returns the distributions and their installed requirements, without extras; sorted, each once."""
    found: set[str] = set()
    todo = list(packages)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:  # a requirement of another system or Python version
            continue
        found.add(name)
        required = (re.match(r"[\w.-]+", text) for text in requirements if "extra ==" not in text)
        todo += [match[0] for match in required if match]
    return sorted(found)


def installed_bytes(package: str) -> int:
    """Returns the size in bytes of one distribution's files as pip unpacked them, without compiled bytecode."""
    files = distribution(package).files or []
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())
