"""Logits of an ONNX file on other classes of processors: by emulation, or by hiding instruction sets of this machine.

qemu's user-mode emulation (Debian: qemu-user-static) covers processors without VNNI or AVX, and 64-bit Arm, which needs an
unpacked arm64 userland (``arm64_root.sh``). It does not support AVX-512. Where this machine does, ``hide_cpuid.c`` hides
parts of it, so that onnxruntime's other kernels run on real hardware.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

__all__ = ["PROCESSORS", "Processor", "replay"]

REPLAY = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
images = np.load(sys.argv[2])
logits = [session.run(["logits"], {"image": images[i : i + 50]})[0] for i in range(0, len(images), 50)]
np.save(sys.argv[3], np.concatenate(logits))
print(onnxruntime.__version__)
"""
_SOURCE = Path(__file__).with_name("hide_cpuid.c")
_REFUSED = 99
"""Exit code of ``hide_cpuid.c`` where the machine cannot hide instruction sets."""

_VNNI = {"avx512_vnni": ("ecx", 11), "amx_tile": ("edx", 24), "amx_int8": ("edx", 25), "amx_bf16": ("edx", 22)}
_AVX_VNNI = {"avx_vnni": ("eax1", 4)}
_AVX512 = {
    name: ("ebx", bit)
    for name, bit in {
        "avx512f": 16,
        "avx512dq": 17,
        "avx512ifma": 21,
        "avx512cd": 28,
        "avx512bw": 30,
        "avx512vl": 31,
    }.items()
}


@dataclass(frozen=True)
class Processor:
    """One class of processors, and how this machine runs it: as it is, with instruction sets hidden, or by emulation."""

    name: str
    machine: str = "x86_64"
    emulated: str | None = None
    """qemu's name of a processor of this class."""
    hidden: Mapping[str, tuple[str, int]] | None = None
    """Instruction sets to hide: name in /proc/cpuinfo, with register and bit of CPUID's leaf 7."""

    @property
    def how(self) -> str:
        """How the row was measured, for the table."""
        return f"qemu, {self.emulated}" if self.emulated else "hardware, parts hidden" if self.hidden else "hardware"


PROCESSORS = {
    "here": Processor("this machine", os.uname().machine),
    "avx512": Processor("x86-64 with AVX-512, no VNNI (Skylake-SP)", hidden=_VNNI | _AVX_VNNI),
    "avx-vnni": Processor("x86-64 with AVX-VNNI, no AVX-512 (Alder Lake)", hidden=_VNNI | _AVX512),
    "avx2": Processor("x86-64 with AVX2, no VNNI (Haswell)", emulated="Haswell"),
    "sse": Processor("x86-64 with SSE4.2 (Nehalem)", emulated="Nehalem"),
    "arm64": Processor("ARM64 (Cortex-A72)", "aarch64", emulated="cortex-a72"),
}


def replay(processor: Processor, model: Path, images: np.ndarray, arm64: Path | None = None) -> dict[str, object]:
    """Computes logits on a processor.

    Args:
        processor: One of ``PROCESSORS``.
        model: ONNX file.
        images: uint8 ``[N, 1, 28, 28]``.
        arm64: Folder of an unpacked arm64 userland.

    Returns:
        ``logits`` (float32 ``[N, classes]``), ``onnxruntime`` (its version) and ``seconds``; or ``missing``, a reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = _command(processor, arm64, Path(folder))
        if isinstance(start, str):
            return {"missing": start}
        inputs, outputs = Path(folder) / "images.npy", Path(folder) / "logits.npy"
        np.save(inputs, images)
        begin = time.perf_counter()
        arguments = [*start, "-c", REPLAY, str(model), str(inputs), str(outputs)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode == _REFUSED and processor.hidden:
            return {"missing": "this processor or kernel cannot hide instruction sets"}
        if done.returncode:
            return {"missing": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
        seconds = time.perf_counter() - begin
        return {"logits": np.load(outputs), "onnxruntime": done.stdout.split()[-1], "seconds": seconds}


def _command(processor: Processor, arm64: Path | None, folder: Path) -> list[str] | str:
    """Returns the command that starts Python on that processor, or the reason why there is none."""
    if processor.hidden:
        return _hiding(processor.hidden, folder)
    if processor.emulated is None:
        return [sys.executable]
    qemu = shutil.which(f"qemu-{processor.machine}-static")
    if qemu is None:
        return "qemu-user-static is not installed"
    if processor.machine == os.uname().machine:
        paths = os.pathsep.join(p for p in sys.path if p)
        # numpy's OpenBLAS uses the kernels that this variable names, even where the emulated processor cannot run them.
        settings = ["-E", f"PYTHONPATH={paths}", "-U", "OPENBLAS_CORETYPE"]
        return [qemu, "-cpu", processor.emulated, *settings, str(Path(sys.executable).resolve())]
    if arm64 is None:
        return "no arm64 userland: benchmarks/studies/arm64_root.sh makes one, --arm64 names it"
    packages, libraries = arm64 / "usr/lib/python3/dist-packages", arm64 / "usr/lib/aarch64-linux-gnu"
    variables = {"PYTHONHOME": arm64 / "usr", "PYTHONPATH": packages, "LD_LIBRARY_PATH": libraries}
    settings = [part for key, value in variables.items() for part in ("-E", f"{key}={value}")]
    return [qemu, "-cpu", processor.emulated, "-L", str(arm64), *settings, str(arm64 / "usr/bin/python3.11")]


def _hiding(hidden: Mapping[str, tuple[str, int]], folder: Path) -> list[str] | str:
    compiler = shutil.which("cc")
    if os.uname().machine != "x86_64" or compiler is None:
        return "hiding instruction sets needs an x86-64 machine and a C compiler"
    known = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    if "avx512f" not in known or not {"avx512_vnni", "avx_vnni"} & known:
        return "this machine has no AVX-512 with VNNI to hide parts of"
    if "avx_vnni" not in hidden and "avx_vnni" not in known:
        return "this machine has no AVX-VNNI"
    library = folder / "hide_cpuid.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)], check=True)
    masks = {
        register: reduce(lambda mask, bit: mask | 1 << bit, (b for r, b in hidden.values() if r == register), 0)
        for register in ("ebx", "ecx", "edx", "eax1")
    }
    variable = ",".join(f"{mask:x}" for mask in masks.values())
    return ["env", f"HIDE_CPUID={variable}", f"LD_PRELOAD={library}", sys.executable]
