"""From what the user calls a model (nothing, a name, a file, a folder) to the bytes of one file, read and verified."""

import os
from pathlib import Path

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.integrity import verify_sha256

__all__ = ["DEFAULT_MODEL", "embedded_models", "find_model", "read_model"]

DEFAULT_MODEL = "improved"
MODEL_DIR = Path(__file__).parents[1] / "models"
FOLDER_FILES = (
    "model.int8.onnx",
    "model.onnx",
    "model.int8.ort",
    "model.ort",
)  # in a model folder, in order of preference
SUMS = "SHA256SUMS"
MAX_BYTES = 1 << 28  # 256 MiB: far over any model for a device, far under what exhausts one


def embedded_models() -> dict[str, Path]:
    """The models that this package carries, by name."""
    return {path.stem: path for path in sorted(MODEL_DIR.glob("*.onnx"), key=lambda path: path.stem)}


def find_model(model: str | Path | None = None) -> Path:
    """The file that is meant.

    Args:
        model: None: the embedded default; a bare name: the embedded model of that name; otherwise a file, or a folder
            that holds one of ``FOLDER_FILES`` (and may hold ``SHA256SUMS``).

    Raises:
        ModelError: there is no such model.
    """
    path = Path(DEFAULT_MODEL if model is None else model)
    embedded = MODEL_DIR / f"{path}.onnx"
    if path.name == str(path) and embedded.is_file():
        return embedded
    if model is None or not os.path.exists(path):  # noqa: PTH110 (Path.exists raises for a name too long)
        known = ", ".join(embedded_models()) or "none"
        raise ModelError(f"{path}: no such model file, and no embedded model of that name (embedded: {known})")
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    raise ModelError(f"{path}: the folder holds no model ({' or '.join(FOLDER_FILES)})")


def read_model(path: Path, sha256: str | None = None) -> bytes:
    """Read a model file, and verify it against ``sha256`` and against a ``SHA256SUMS`` that stands beside it.

    Raises:
        ModelError: unreadable, empty, too large, or another file than was vouched for.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelError(f"{path}: the model file is empty")
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which is no model for a device")
    for digits in filter(None, (sha256, _listed_sha256(path))):
        verify_sha256(data, digits)
    return data


def _listed_sha256(path: Path) -> str | None:
    """What ``SHA256SUMS`` in the same folder says of this file, in the format of sha256sum(1); None without a line."""
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
        raise ModelError(f"{sums}: does not list {path.name}, so nothing vouches for it")
    return None
