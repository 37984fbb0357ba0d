"""Probable causes of a missing file: addresses, quotes, patterns, escaped characters, and similar names."""

import errno
import fnmatch
import functools
import itertools
import os
import re
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress

from fmnist_runtime.errors import printable

__all__ = ["describe_missing"]


def describe_missing(name: str) -> str | None:
    """Returns why a path that does not exist was probably given, and what to do; None without a probable cause."""
    if os.path.islink(name):  # noqa: PTH114 (Path methods raise for names too long; so below)
        return _describe_link(name)
    scheme, mark, rest = name.partition(":")
    if mark and (scheme.lower() == "data" or (scheme.isalpha() and rest.startswith("//"))):
        return _describe_address(scheme.lower(), rest)
    if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that are not UTF-8, by ``surrogateescape``
        return "not UTF-8, the encoding of names on most systems; save a list of paths as UTF-8"
    if len(name) > 1 and name[0] in _OPENING_QUOTES and name[-1] in _CLOSING_QUOTES:
        return "the quotes are part of the name; remove them"
    if name[0] == "~":
        return "shells expand ~ outside of quotes only; remove the quotes, or write the folder in full"
    if found := _similar_path(name):
        return found
    if os.sep == "/" and "\\" in name and not re.search(r"\\(\w|$)", name):
        return "only shells take away a backslash before a space or bracket; write the name without the backslashes"
    if "*" in name or "?" in name or "[" in name:
        return _describe_pattern(name)
    if os.sep == "/" and "\\" in name:
        return "a path of Windows; the separator here is /"
    return "the name begins or ends with a space" if name != name.strip() else None


_OPENING_QUOTES = "\"'“‘„‚«"
"""Straight quotes, and those by which text programs replace them."""
_CLOSING_QUOTES = "\"'”’“‘»"
"""Quotes at the end of a name."""


def _describe_link(name: str) -> str:
    """Returns where a link that cannot be followed leads."""
    target = f"a link to {printable(os.readlink(name))}"  # noqa: PTH115
    try:
        os.stat(name)  # noqa: PTH116
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"{target}, which leads back to it"
    return f"{target}, which does not exist"


def _describe_address(scheme: str, rest: str) -> str:
    if scheme == "data":
        return "a data: address; save the picture as a file, and name that"
    if scheme != "file":
        return "a web address; download the picture, and name the file"
    from urllib.parse import unquote  # not at start-up

    path = unquote(rest.removeprefix("//").removeprefix("localhost"), errors="surrogateescape")
    return f"a file:// address; name the path alone: {printable(path)}"


def _describe_pattern(name: str) -> str:
    folder, part = os.path.split(name)
    matching = fnmatch.filter(_names(folder or os.curdir).values(), part)
    if matching and not part.startswith(".") and all(each.startswith(".") for each in matching):
        return "a pattern that only hidden files match"
    if matching:
        return "a pattern, and patterns are expanded in arguments alone; name the files, or their folder"
    return "a pattern that no file matches"


def _similar_path(name: str) -> str | None:
    """Returns advice if the file probably exists under a similar name: see ``_comparable``; None if there is none."""
    first = re.split("[,;\t]", name, maxsplit=1)[0].strip('"')
    if first not in ("", name) and os.path.isfile(first):  # noqa: PTH113
        return "a row of a table; a list of paths has one path a line, and nothing else"
    path = ""
    for part in re.split("(/+)", name) if os.sep == "/" else ():
        if part and not os.path.lexists(path + part):
            names = _names(path or os.curdir)
            if (same := names.get(_comparable(part))) is None:
                return _advise_quotes(path, part, names) if path + part == name else None
            part = same
        path += part
    if path in ("", name):
        return None
    return (
        f"capitals, spaces or Unicode forms of letters differ from those of {printable(path)}; copy the name from there"
    )


def _advise_quotes(folder: str, part: str, names: Mapping[str, str]) -> str | None:
    """Returns advice if a name begins with this part and a space: without quotes, a shell ends the argument there."""
    ordered = list(names.values())
    index = bisect_left(ordered, f"{part} ")
    if index == len(ordered) or not ordered[index].startswith(f"{part} "):
        return None
    return f"a name with spaces needs quotes: '{printable(folder + ordered[index])}'"


def _comparable(name: str) -> str:
    """Returns a name without differences of case, of Unicode form (a Mac's are decomposed), and of kinds of spaces."""
    import unicodedata  # not at start-up

    return unicodedata.normalize("NFKC", name).casefold()


def _names(folder: str) -> Mapping[str, str]:
    """Returns the names in a folder, sorted, by their ``_comparable``; of a very large folder, those found first."""
    try:
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116
    except (OSError, ValueError):
        return {}
    return _read_names(folder, changed)


@functools.lru_cache(maxsize=4)
def _read_names(folder: str, changed: int) -> Mapping[str, str]:
    """Reads a folder again only if it has changed: a list may have a million missing paths."""
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
        return {_comparable(name): name for name in sorted(names)}
    return {}


_MOST_NAMES = 10_000
"""Largest number of names in a folder that are compared with a missing one: some milliseconds."""
