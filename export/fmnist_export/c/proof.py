"""Compiles generated C and compares all its logits with onnxruntime, to the bit."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np

from fmnist_export.evaluation import all_logits
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import GateError

__all__ = ["BUILDS", "compile_harness", "find_compiler", "prove_c", "run_harness", "write_files"]

BUILDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "this processor's kernels": (("-std=c99", "-O3", "-march=native"), 1_000_000),
    "plain C": (("-std=c99", "-O2", "-DFMNIST_PLAIN_C"), 500),
}
"""Compiler flags of each build, and the most images that it classifies. Plain C takes 10 ms for one image of the largest model."""
_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT = 600
"""Seconds for compiling, and for all images."""


def find_compiler() -> tuple[str, ...] | None:
    """Returns the command of a C compiler: that of ``CC``, or the first one installed; None without one."""
    given = shlex.split(os.environ.get("CC", ""))
    for command in (given, *([name] for name in _COMPILERS)):
        if command and shutil.which(command[0]):
            return tuple(command)
    return None


def prove_c(
    files: Mapping[PurePosixPath, str], prefix: str, classifier: Classifier, images: np.ndarray, compiler: Sequence[str]
) -> None:
    """Compares generated C with onnxruntime.

    Args:
        files: what ``generate`` returned.
        prefix: of all C names, as in ``fmnist_nano``.
        classifier: the model that the files were written from.
        images: uint8 ``[N, 28, 28]``.
        compiler: command of a C compiler.

    Raises:
        GateError: it does not compile, or one logit differs in one bit.
    """
    expected = all_logits(classifier, images).astype(np.float32)
    for build, (flags, most) in BUILDS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_files(files, Path(folder))
            program = compile_harness(Path(folder), prefix, (*compiler, *flags))
            found = run_harness((str(program),), images[:most], len(classifier.labels))
        wrong = np.flatnonzero((found.view(np.uint32) != expected[:most].view(np.uint32)).any(axis=1))
        if len(wrong):
            raise GateError(
                f"the C of {prefix} ({build}) computes other logits than onnxruntime for {len(wrong):,} of "
                f"{len(found):,} images, first for image {wrong[0]}; nothing was written"
            )


def write_files(files: Mapping[PurePosixPath, str], folder: Path) -> None:
    """Writes generated files under a folder."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def compile_harness(folder: Path, prefix: str, command: Sequence[str]) -> Path:
    """Compiles ``src/`` of a generated folder into a program that reads images and writes logits.

    Raises:
        GateError: the compiler fails; the message has its first line.
    """
    harness, program = folder / "harness.c", folder / "harness"
    harness.write_text((resources.files(__package__) / "templates" / "harness.c").read_text("utf-8"), "utf-8")
    macro = prefix.upper()
    defines = [f'-DMODEL_HEADER="{prefix}.h"', f"-DMODEL_CLASSIFY={prefix}_classify"]
    defines += [f"-DMODEL_{size}={macro}_{size}" for size in ("PIXELS", "CLASSES")]
    sources = [str(harness), str(folder / "src" / f"{prefix}.c")]
    done = _run([*command, *defines, f"-I{folder / 'src'}", *sources, "-o", str(program), "-lm"])
    if done.returncode:
        message = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[0]
        raise GateError(f"the C of {prefix} does not compile with {command[0]}: {message}")
    return program


def run_harness(command: Sequence[str], images: np.ndarray, classes: int) -> np.ndarray:
    """Runs a compiled harness.

    Args:
        command: the program, behind an emulator where it needs one.
        images: uint8 ``[N, 28, 28]``.
        classes: number of logits.

    Returns:
        float32 ``[N, classes]``.

    Raises:
        GateError: the program fails.
    """
    done = _run(command, np.ascontiguousarray(images, np.uint8).tobytes())
    if done.returncode or len(done.stdout) != 4 * classes * len(images):
        raise GateError(f"the compiled C failed with exit status {done.returncode}; nothing was written")
    return np.frombuffer(done.stdout, np.float32).reshape(len(images), classes)


def _run(command: Sequence[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=data, capture_output=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateError(f"{command[0]} could not be run: {error}") from error
