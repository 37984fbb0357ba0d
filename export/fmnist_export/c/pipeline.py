"""Export of a model file as a folder of C, after a comparison of its logits with onnxruntime's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fmnist_export.c.comparison import compare_with_onnxruntime, find_compiler, write_files
from fmnist_export.c.emit import MARKER, Source, generate
from fmnist_export.c.fusion import fuse_pooling
from fmnist_export.c.memory import plan_memory
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ConfigError, FileError, ModelError, reason_of
from fmnist_runtime.files import check_folder
from fmnist_runtime.model_file.integrity import is_ort
from fmnist_runtime.model_file.store import embedded_models, find_model, prefix_model_errors, read_model
from fmnist_runtime.network.reader import read_network

__all__ = ["CExport", "find_source", "write_c"]

_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
_TAKEN = ("prepare",)
"""Names whose header would have the name or the guard of another one."""
_STEMS = ("model", "model.int8")
"""Stems of the file names that all exports have in common; such a model is named after its folder."""


@dataclass(frozen=True)
class CExport:
    """CExport files, and the result of their comparison with onnxruntime."""

    name: str
    """Part of all C names."""
    folder: Path
    """Folder of the files."""
    files: tuple[str, ...]
    """Paths in the folder."""
    images: int
    """Images whose logits were compared; 0 without a compiler."""
    compiler: str | None
    """Command of the compiler; None without one."""
    macs: int
    """Multiply-accumulates for one image."""
    scratch: int
    """Bytes of the scratch arena."""

    def summary(self) -> str:
        """Returns a one-line summary for the terminal."""
        comparison = (
            f"logits of {self.images:,} images equal to onnxruntime's, to the bit" if self.images else "not compared"
        )
        return f"fmnist_{self.name}: {self.scratch:,} bytes of scratch memory; {comparison}; written to {self.folder}"


def find_source(model: str | Path, name: str | None = None) -> tuple[Path, str]:
    """Finds the model file and the name of its C.

    Args:
        model: Model file, its folder, run folder, or name of an embedded model.
        name: Part of all C names; None: derived from the file or, for ``model.int8.onnx``, from its folder.

    Raises:
        ModelError: There is no such model.
        ConfigError: The name cannot be part of a C identifier.
    """
    exported = Path(model) / "export"
    path = find_model(exported if exported.is_dir() and model not in embedded_models() else model)
    stem = path.stem
    if stem in _STEMS:
        folder = path.resolve().parent
        stem = (folder.parent if folder.name == "export" else folder).name
    chosen = name if name is not None else stem.replace("-", "_")
    if not _NAME.fullmatch(chosen):
        raise ConfigError(
            f"'{chosen}' cannot be part of a C name (letters, digits and _, at most 40): choose another with --name"
        )
    if chosen.lower() in _TAKEN:
        raise ConfigError(f"'{chosen}' is the name of a file beside the model's: choose another with --name")
    return path, chosen


def write_c(path: Path, name: str, output: Path, images: np.ndarray) -> CExport:
    """Writes an int8 model as C.

    Args:
        path: Model file.
        name: Part of all C names.
        output: Folder; files of an earlier run are replaced.
        images: Images whose logits are compared, uint8 ``[N, 28, 28]``.

    Raises:
        ModelError: The model is not int8, or has an operator that cannot be written.
        ConfigError: The folder contains files that no earlier run wrote.
        FileError: The folder cannot be written.
        GateError: The C computes other logits than onnxruntime.
    """
    check_folder(output)  # before a minute of comparisons on a slow machine
    classifier, data = Classifier.load(path), read_model(path)
    if is_ort(data):
        raise ModelError(f"{path}: C is written from ONNX, not from the ORT format; name the .onnx file")
    if classifier.metadata.precision != "int8":
        raise ModelError(
            f"{path}: C is written from int8 models, and this one is {classifier.metadata.precision}; "
            "export with --quantize"
        )
    with prefix_model_errors(path):
        network = read_network(data, classifier.metadata.temperature)
        files = generate(network, Source(name, path.name, data, classifier.metadata))
    _refuse_others(files, output)
    compiler = find_compiler()
    if compiler:
        compare_with_onnxruntime(files, f"fmnist_{name}", classifier, images, compiler=compiler)
    _write(files, output)
    return CExport(
        name=name,
        folder=output,
        files=tuple(str(file) for file in files),
        images=len(images) if compiler else 0,
        compiler=" ".join(compiler) if compiler else None,
        macs=network.macs,
        scratch=plan_memory(fuse_pooling(network)).size,
    )


def _refuse_others(files: Mapping[PurePosixPath, str], output: Path) -> None:
    """Refuses a folder with a file of the same name that no earlier run wrote, or with other files only."""
    if output.exists() and not output.is_dir():
        raise FileError(f"{output} is not a folder: choose another --output")
    targets = [output / file for file in files]
    for target in targets:
        if target.is_dir() or (target.exists() and MARKER not in target.read_text("utf-8", errors="replace")[:2000]):
            raise ConfigError(f"{target} exists and was not written by this command: choose another --output")
    other = next(output.glob("[!.]*"), None)
    if other and not any(target.exists() for target in targets):
        raise ConfigError(f"{output} holds other files, such as {other.name}: choose another --output")


def _write(files: Mapping[PurePosixPath, str], output: Path) -> None:
    try:
        write_files(files, output)
    except OSError as error:
        raise FileError(f"{output}: cannot be written: {reason_of(error)}") from error
