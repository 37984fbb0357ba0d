"""Output files and folders: written whole or not at all, and checked before the work begins."""

import os
import threading
from pathlib import Path

from fmnist_runtime.errors import ConfigError

__all__ = ["make_folder", "write_atomically"]


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name beside it, then renames it; makes the folder where there is none.

    Two threads or processes may write the same file at once: one of the two results stays, whole.

    Raises:
        OSError: The folder or file cannot be written; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Makes a folder where there is none, and checks that files can be written into it.

    Raises:
        ConfigError: It cannot be made or written into.
    """
    import tempfile  # slow to import, and needed only here

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write into {folder} ({error.strerror or error}); name another folder") from error
