"""Resolution of a model's name, file or folder to the verified bytes of one file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnist_runtime.errors import ModelError
from fmnist_runtime.files import read_at_most
from fmnist_runtime.model_file.integrity import verify_sha256

__all__ = ["DEFAULT_MODEL", "embedded_models", "find_model", "names_model", "read_model"]

DEFAULT_MODEL = "improved"
"""Name of the embedded model that is used where none is given."""
MODEL_DIR = Path(__file__).parents[1] / "models"
"""Folder of the embedded models in an installed wheel, and of the list of their names."""
NAMES_FILE = MODEL_DIR / "names.txt"
"""List of the embedded models, a name a line. The build copies them into the wheel from ``ARTIFACTS``."""
ARTIFACTS = Path(__file__).parents[3] / "artifacts"
"""Folder of the model folders in a checkout, from which the embedded models are read there."""
FOLDER_FILES = ("model.int8.onnx", "model.onnx", "model.int8.ort", "model.ort")
"""Names of model files in a model folder, in order of preference: the fastest first."""
SUMS = "SHA256SUMS"
"""Name of the checksum file of a model folder, in the format of sha256sum(1)."""
MAX_BYTES = 1 << 28
"""Bytes. Larger model files are refused: 256 MiB is far over any model for a device, and far under its memory."""


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
            ``FOLDER_FILES`` (and may hold ``SHA256SUMS``).

    Raises:
        ModelError: No such model.
    """
    path = Path(DEFAULT_MODEL if model is None else model)
    known = embedded_models()
    if str(path) in known:
        return known[str(path)]
    # Methods of Path raise an OSError for a name too long; functions of os.path return False.
    if model is None or not os.path.exists(path):  # noqa: PTH110
        from difflib import get_close_matches

        near = get_close_matches(str(path), known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = ", ".join(known) or "none"
        raise ModelError(f"{path}: no such model file, and no embedded model of that name (embedded: {listed}){hint}")
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    raise ModelError(f"{path}: the folder holds no model ({' or '.join(FOLDER_FILES)})")


def read_model(path: Path, sha256: str | None = None) -> bytes:
    """Reads a model file, and verifies it against ``sha256`` and a ``SHA256SUMS`` in the same folder.

    Raises:
        ModelError: Unreadable, empty, too large, or with another hash.
    """
    try:
        with path.open("rb") as file:
            data = read_at_most(file, MAX_BYTES, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelError(f"{path}: the model file is empty")
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES >> 20} MiB: refused")
    with names_model(path):
        for digits in filter(None, (sha256, _listed_sha256(path))):
            verify_sha256(data, digits)
    return data


@contextmanager
def names_model(path: Path) -> Iterator[None]:
    """Context manager that puts the file's name before the message of a ``ModelError`` raised inside, if it lacks it."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ModelError(f"{path}: {error}") from error


def _listed_sha256(path: Path) -> str | None:
    """Returns the hash that ``SHA256SUMS`` in the same folder lists for this file; None where it lists none."""
    sums = path.with_name(SUMS)
    if not sums.is_file():
        return None
    try:
        lines = sums.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{sums}: cannot be read: {error}") from error
    for line in lines:
        digits, _, name = line.partition(" ")
        if name[:1] in (" ", "*") and name[1:] == path.name:
            return digits
    if path.name in FOLDER_FILES:
        raise ModelError(f"{sums}: does not list {path.name}, so it cannot be verified")
    return None
