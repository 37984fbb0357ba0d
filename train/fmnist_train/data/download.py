"""Download of Fashion-MNIST from torchvision's mirrors, checked against torchvision's MD5 sums."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fmnist_runtime.errors import DataError
from fmnist_runtime.files import write_atomically

__all__ = ["download"]

_TIMEOUT_S = 20
"""Seconds without an answer after which the next mirror is tried."""
_CHUNK = 2**16
"""Bytes that are read at a time, between two updates of the progress bar."""


def download(folder: Path) -> None:
    """Downloads the four files into a folder; existing files stay. Progress goes to stderr.

    Raises:
        DataError: No mirror can be reached, or a file has another MD5 sum than torchvision states.
    """
    from torchvision.datasets import FashionMNIST  # takes half a second to import, and is used for downloads only

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name, md5 in FashionMNIST.resources:
            if not (folder / name).is_file():
                write_atomically(folder / name, _fetch(FashionMNIST.mirrors, name, md5, progress))


def _fetch(mirrors: list[str], name: str, md5: str, progress: Progress) -> bytes:
    problem = "no mirror is known"
    for mirror in mirrors:
        try:
            content = _read(mirror + name, progress)
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            problem = str(getattr(error, "reason", error))
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            return content
        problem = "its MD5 sum is wrong"
    raise DataError(f"{name} could not be downloaded: {problem}")


def _read(url: str, progress: Progress) -> bytes:
    content = bytearray()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        total = response.headers.get("Content-Length")
        task = progress.add_task(url.rpartition("/")[2], total=int(total) if total else None)
        while chunk := response.read(_CHUNK):
            content += chunk
            progress.update(task, advance=len(chunk))
    return bytes(content)
