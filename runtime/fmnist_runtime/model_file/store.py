"""Lookup of a model by name, file or folder, and reading of its verified bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnist_runtime.errors import ModelError, reason_of
from fmnist_runtime.files import describe_substitute, parse_path, read_at_most
from fmnist_runtime.model_file.integrity import verify_sha256

__all__ = ["DEFAULT_MODEL", "embedded_models", "find_model", "prefix_model_errors", "read_model"]

DEFAULT_MODEL = "improved"
"""Name of the embedded model that is used by default."""
MODEL_DIR = Path(__file__).parents[1] / "models"
"""Folder of the embedded models in an installed wheel, and of the list of their names."""
NAMES_FILE = MODEL_DIR / "names.txt"
"""List of the embedded models, one name a line. The build copies their files from ``ARTIFACTS`` into the wheel."""
ARTIFACTS = Path(__file__).parents[3] / "artifacts"
"""Parent folder of the model folders in a checkout; embedded models are read from it if they are not in ``MODEL_DIR``."""
FOLDER_FILES = ("model.int8.onnx", "model.onnx", "model.int8.ort", "model.ort")
"""Names of model files in a model folder, in order of preference: the fastest first."""
CHECKSUM_FILE = "SHA256SUMS"
"""Name of the checksum file of a model folder, in the format of sha256sum(1)."""
MAX_BYTES = 1 << 28
"""Largest size of a model file in bytes: far over that of any model for a device, and far under the device's memory."""


_MAX_SUMS = 1 << 20
"""Bytes read of a checksum file: some 10,000 lines."""


def embedded_models() -> dict[str, Path]:
    """Returns the paths of the embedded models by name."""
    found = {name: _embedded(name) for name in sorted(NAMES_FILE.read_text("utf-8").split())}
    return {name: path for name, path in found.items() if path.is_file()}


def _embedded(name: str) -> Path:
    """Returns the path of an embedded model: in the wheel, or else in the checkout."""
    packaged = MODEL_DIR / f"{name}.onnx"
    return packaged if packaged.is_file() else ARTIFACTS / name / FOLDER_FILES[0]


def find_model(model: str | Path | None = None) -> Path:
    """Returns the path of a model file.

    Args:
        model: None for the embedded default; the name of an embedded model; a file; or a folder that holds one of
            ``FOLDER_FILES`` (and may hold ``SHA256SUMS``). Text with a separator, such as ``./nano``, is no name, and neither
            is a ``Path`` that exists.

    Raises:
        ModelError: No such model.
    """
    if not str(model):
        raise ModelError("the model's name is empty; name a model file, a folder, or an embedded model")
    name = DEFAULT_MODEL if model is None else model
    path, known = parse_path(str(name)), embedded_models()
    # Methods of Path raise an OSError for a name too long; functions of os.path return False.
    exists = os.path.exists(path)  # noqa: PTH110
    if str(name) in known and (isinstance(name, str) or not exists):  # a Path has no "./" any more
        return known[str(name)]
    if model is None or not exists:
        from difflib import get_close_matches

        if str(path) in known:
            raise ModelError(f"{name}: no such file or folder; the embedded model is called {path}")
        near = get_close_matches(str(path).lower(), known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = ", ".join(known) or "none"
        raise ModelError(f"{path}: no such model file, and no embedded model of that name (embedded: {listed}){hint}")
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    for name in FOLDER_FILES:
        if (path / "export" / name).is_file():
            raise ModelError(f"{path}: the folder of a training; its exported model is in {path / 'export'}: name that")
    advice = ""
    if (path / "best.safetensors").is_file():
        advice = "; it is the folder of a training: export it with fmnist-export, and name the exported model"
    raise ModelError(f"{path}: the folder holds no model ({' or '.join(FOLDER_FILES)}){advice}")


def read_model(path: Path, sha256: str | None = None) -> bytes:
    """Reads a model file, and verifies it against ``sha256`` and a ``SHA256SUMS`` in the same folder.

    Raises:
        ModelError: Unreadable, empty, too large, a pointer of Git LFS, a web page, a checkpoint, or with another hash.
    """
    try:
        with path.open("rb") as file:
            data = read_at_most(file, MAX_BYTES, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not data:
        raise ModelError(f"{path}: the model file is empty")
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES >> 20} MiB: refused")
    if substitute := describe_substitute(data):
        raise ModelError(f"{path}: {substitute}")
    if data[8:10] == b'{"':  # the header of safetensors
        raise ModelError(
            f"{path}: the checkpoint of a training: export it with fmnist-export, and name the exported model"
        )
    with prefix_model_errors(path):
        for digits in (sha256, _listed_sha256(path)):
            if digits is not None:
                verify_sha256(data, digits)
    return data


@contextmanager
def prefix_model_errors(path: Path) -> Iterator[None]:
    """Context manager that adds the file's path to the beginning of a ``ModelError``'s message, if it is not there."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ModelError(f"{path}: {error}") from error


def _listed_sha256(path: Path) -> str | None:
    """Returns the hash of this file in the ``SHA256SUMS`` of its folder; None if there is no such list or no such line."""
    sums = path.with_name(CHECKSUM_FILE)
    if not sums.is_file():
        return None
    try:
        with sums.open("rb") as file:
            lines = read_at_most(file, _MAX_SUMS).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{sums}: cannot be read: {reason_of(error)}") from error
    for line in lines:
        digits, _, name = line.partition(" ")
        if name[:1] in (" ", "*") and name[1:] == path.name:
            return digits
    if path.name in FOLDER_FILES:
        raise ModelError(f"{sums}: does not list {path.name}, so it cannot be verified")
    return None
