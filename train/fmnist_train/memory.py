"""Trials of the imports that end or stop a process where its memory is limited (``ulimit -v``).

Under some limits, PyTorch ends the process from C++ while it is imported, and the OpenBLAS of SciPy repeats an allocation without
end. Which limits these are depends on the builds and on what is loaded before. So each import is tried first in a copy of the
process.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from fmnist_runtime.cpus import limits_address_space
from fmnist_runtime.errors import FmnistError

__all__ = ["try_imports_first"]

_TRIED = ("torch", "scipy.special")
"""Modules with the libraries that end or stop a process."""
_MOST_SECONDS = 60
"""Processor time of a trial: an import takes 4 seconds on a slow server."""


def try_imports_first() -> None:
    """Makes an import raise ``FmnistError`` where a limit on memory lets it end or stop the process."""
    if hasattr(os, "fork") and limits_address_space():
        sys.meta_path.insert(0, _Trials())


class _Trials(MetaPathFinder):
    """Finds no module; before the first import of a module of ``_TRIED``, the import is tried."""

    def __init__(self) -> None:
        self._left = set(_TRIED)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self._left:
            self._left.remove(name)
            _try_import(name)
        return None


def _try_import(name: str) -> None:
    """Imports a module in a forked process; an exception is left to the import that follows.

    Raises:
        FmnistError: The process was ended by a signal or by a library.
    """
    process = os.fork()
    if not process:
        _import_and_exit(name)
    _, status = os.waitpid(process, 0)
    if status:
        raise FmnistError(f"out of memory: {name} cannot be loaded within the limit of 'ulimit -v'; raise the limit")


def _import_and_exit(name: str) -> None:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        with contextlib.suppress(BaseException):
            import_module(name)
    finally:
        os._exit(0)
