"""Description of the machine, for benchmark results and ``fmnist-infer doctor``."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from fmnist_runtime.cpus import available_cpus, quota

__all__ = ["describe_machine"]

_FLAGS = ("sse4_2", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""Instruction sets that affect the speed of int8 arithmetic, as named in /proc/cpuinfo."""


def describe_machine() -> dict[str, Any]:
    """Returns processor, instruction sets, CPUs, memory in bytes, frequency governor and versions, JSON-ready."""
    info = _read("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cpus": os.cpu_count(),
        "cpus_allowed": available_cpus(),
        "cgroup_limit": quota(),
        "memory": _memory(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _memory() -> int | None:
    """Returns the machine's memory in bytes; None where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
