"""How many bytes a device has to install for a contestant: files of its distributions and of all that they require."""

import re
from importlib.metadata import PackageNotFoundError, distribution

__all__ = ["closure", "installed_bytes"]


def closure(packages: tuple[str, ...]) -> list[str]:
    """The distributions and, of what they require without extras, all that is installed here; sorted, each once."""
    found: set[str] = set()
    todo = list(packages)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # a requirement of another system or Python
            continue
        found.add(name)
        todo += [re.match(r"[\w.-]+", r)[0] for r in requires if "extra ==" not in r]
    return sorted(found)


def installed_bytes(package: str) -> int:
    """Size of one distribution's files as pip unpacked them; compiled bytecode does not count."""
    files = distribution(package).files or []
    paths = [file.locate() for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())
