"""Compilation of generated C, and comparison of all its logits with onnxruntime's, to the bit."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np

from fmnist_export.evaluation import all_logits
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ConfigError, GateError, reason_of
from fmnist_runtime.files import write_together
from fmnist_train.files import require_temporary_space, temporary_folder

__all__ = ["BUILDS", "compare_with_onnxruntime", "compile_harness", "find_compiler", "run_harness", "write_files"]

BUILDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "this processor's kernels": (("-std=c99", "-O3", "-march=native"), 1_000_000),
    "plain C": (("-std=c99", "-O2", "-DFMNIST_PLAIN_C"), 500),
}
"""Compiler flags of each build, and the largest number of images that it classifies: plain C takes up to 10 ms for one."""
_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT = 600
"""Largest duration of a compilation, and of a run over all images, in seconds."""


def find_compiler() -> tuple[str, ...] | None:
    """Returns the command of a C compiler: that in the variable ``CC``, or the first installed one; None without one.

    Raises:
        ConfigError: ``CC`` has an unbalanced quote.
    """
    try:
        given = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise ConfigError(
            f"the environment variable CC: {reason_of(error)}; set it to the command of a compiler"
        ) from error
    for command in (given, *([name] for name in _COMPILERS)):
        if command and shutil.which(command[0]):
            return tuple(command)
    return None


def compare_with_onnxruntime(
    files: Mapping[PurePosixPath, str], prefix: str, classifier: Classifier, images: np.ndarray, compiler: Sequence[str]
) -> None:
    """Compares generated C with onnxruntime.

    Args:
        files: Result of ``generate``.
        prefix: Beginning of all C names, as in ``fmnist_nano``.
        classifier: Model from which the files were generated.
        images: uint8 ``[N, 28, 28]``.
        compiler: Command of a C compiler.

    Raises:
        GateError: The C does not compile, or a logit differs in any bit.
        OSError: There is no space for temporary files.
    """
    expected = all_logits(classifier, images).astype(np.float32)
    for build, (flags, limit) in BUILDS.items():
        with temporary_folder() as folder:
            write_files(files, folder)
            program = compile_harness(folder, prefix, (*compiler, *flags))
            found = run_harness((str(program),), images[:limit], len(classifier.labels))
        wrong = np.flatnonzero((found.view(np.uint32) != expected[:limit].view(np.uint32)).any(axis=1))
        if len(wrong):
            raise GateError(
                f"the C of {prefix} ({build}) computes other logits than onnxruntime for {len(wrong):,} of "
                f"{len(found):,} images, first for image {wrong[0]}; nothing was written"
            )


def write_files(files: Mapping[PurePosixPath, str], folder: Path) -> None:
    """Writes generated files under a folder, all or none."""
    write_together(folder, {str(path): text.encode() for path, text in files.items()})


def compile_harness(folder: Path, prefix: str, command: Sequence[str]) -> Path:
    """Compiles ``src/`` of a generated folder into a program that reads images and writes logits.

    Raises:
        GateError: The compiler fails; the message contains its first error.
        OSError: The compiler fails, and there is no space for its temporary files.
    """
    harness, program = folder / "harness.c", folder / "harness"
    harness.write_text((resources.files(__package__) / "templates" / "harness.c").read_text("utf-8"), "utf-8")
    macro = prefix.upper()
    defines = [f'-DMODEL_HEADER="{prefix}.h"', f"-DMODEL_CLASSIFY={prefix}_classify"]
    defines += [f"-DMODEL_{size}={macro}_{size}" for size in ("PIXELS", "CLASSES")]
    sources = [str(harness), str(folder / "src" / f"{prefix}.c")]
    arguments = [*command, *defines, f"-I{folder / 'src'}", *sources, "-o", str(program), "-lm"]
    done = _run(arguments, environment={"TMPDIR": str(folder)})  # Python chooses another folder where that one is full
    if done.returncode:
        require_temporary_space()  # compilers name the reason in the user's language, or not at all
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        message = next((line for line in lines if "error" in line), lines[0])  # compilers name the function first
        raise GateError(f"the C of {prefix} does not compile with {command[0]}: {message}")
    return program


def run_harness(command: Sequence[str], images: np.ndarray, classes: int) -> np.ndarray:
    """Runs a compiled harness.

    Args:
        command: Program, after the command of an emulator if it needs one.
        images: uint8 ``[N, 28, 28]``.
        classes: Number of logits.

    Returns:
        float32 ``[N, classes]``.

    Raises:
        GateError: The program fails.
    """
    done = _run(command, np.ascontiguousarray(images, np.uint8).tobytes())
    if done.returncode or len(done.stdout) != 4 * classes * len(images):
        raise GateError(f"the compiled C failed with exit status {done.returncode}; nothing was written")
    return np.frombuffer(done.stdout, np.float32).reshape(len(images), classes)


def _run(
    command: Sequence[str], data: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, **(environment or {})}
    try:
        return subprocess.run(command, input=data, capture_output=True, check=False, timeout=_TIMEOUT, env=variables)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateError(f"{command[0]} could not be run: {reason_of(error)}") from error
