"""The browser page with a model, written by ``fmnist-infer web``.

The page's sources are in ``runtime/web``, in a wheel in ``fmnist_runtime/web``. This module adds the model and the
parameters of the preprocessing. It also writes the list of files and their hash into the service worker, which stores the
page for offline use.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from fmnist_runtime.errors import ConfigError, FmnistError, reason_of
from fmnist_runtime.files import write_together
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.network.onnx_graph import read_graph
from fmnist_runtime.network.page_model import MAGIC, page_model
from fmnist_runtime.preprocessing.parameters import parameters_json
from fmnist_runtime.spec import DATASET_LABELS

__all__ = ["page_files", "write_page"]

_SOURCES = (Path(__file__).parent / "web", Path(__file__).parents[1] / "web")
_WORKER = "sw.js"
_PARAMETERS = "parameters.js"
_OWN_FILES = {"model.bin": MAGIC[:-1], _PARAMETERS: b"export const PARAMETERS = {"}
"""First bytes of files that every page has: they mark a folder that this module has written, in any version."""
_GARMENTS = re.compile(rb"\s*<!-- garments -->.*?<!-- end of garments -->", re.DOTALL)
"""Parts of the HTML that only a model of Fashion-MNIST's classes has: the example photos and their authors."""
_NEUTRAL_WORDS = {
    b"What garment is this?": b"What is this?",
    b"One garment": b"One object",
    b'"Garment"': b'"What is it?"',
}
"""Words for other classes, by those of the sources."""
_EXAMPLES = "samples/"
"""Folder of the example photos."""


def page_files(model: bytes) -> dict[str, bytes]:
    """Returns the files of the page by path, with ``/`` between the parts of a path.

    Args:
        model: Contents of an int8 ONNX file.

    Raises:
        FmnistError: This installation lacks the page.
        ModelError: The page cannot run this model, see ``page_model``.
    """
    source = next((folder for folder in _SOURCES if folder.is_dir()), None)
    if source is None:
        raise FmnistError("the page is not part of this installation: install fmnist-edge again")
    files = {
        path.relative_to(source).as_posix(): path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file()
    }
    files["model.bin"] = page_model(model)
    if Metadata.from_props(read_graph(model).metadata_props).labels != DATASET_LABELS:
        files = _without_garments(files)
    files[_PARAMETERS] = f"export const PARAMETERS = {parameters_json()};\n".encode()
    worker = files.pop(_WORKER).decode()
    digest = hashlib.sha256(worker.encode())
    for name, data in sorted(files.items()):
        digest.update(f"{name}\n{len(data)}\n".encode() + data)
    worker = worker.replace("const FILES = [];", f"const FILES = {json.dumps(['./', *sorted(files)])};")
    files[_WORKER] = worker.replace('const VERSION = "";', f'const VERSION = "{digest.hexdigest()[:16]}";').encode()
    return files


def _without_garments(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns the page for a model of other classes than Fashion-MNIST's: neutral words, and no example photos."""
    changed = {name: data for name, data in files.items() if not name.startswith(_EXAMPLES)}
    for name in ("index.html", "manifest.webmanifest"):
        text = _GARMENTS.sub(b"", changed[name])
        for garment, neutral in _NEUTRAL_WORDS.items():
            text = text.replace(garment, neutral)
        changed[name] = text
    return changed


def write_page(model: bytes, folder: Path) -> int:
    """Writes the page into a folder, which is created if it does not exist; returns the page's size in bytes.

    The parameters are written first: an interrupted call leaves a folder that the next one knows as its own. The service worker
    is written last, so that a browser loads the complete new page or keeps the old one.

    Raises:
        ConfigError: The folder has another web site's files of the same names.
        FmnistError: The folder cannot be written, or see ``page_files``.
    """
    files = page_files(model)
    try:
        _check_folder(folder, files)
        write_together(folder, {_PARAMETERS: files[_PARAMETERS], **files})
    except OSError as error:
        raise FmnistError(f"web: cannot write {folder}: {reason_of(error)}") from error
    return sum(map(len, files.values()))


def _check_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Raises ConfigError if files of another web site would be replaced."""
    if any(_begins(folder / name, start) for name, start in _OWN_FILES.items()):
        return
    for name in sorted(files):
        if (folder / name).exists():
            raise ConfigError(f"web: {folder / name} belongs to another web site; name a new folder")


def _begins(path: Path, start: bytes) -> bool:
    """Returns whether a path is a file that begins with these bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False
