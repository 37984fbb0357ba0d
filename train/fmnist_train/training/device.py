"""Device, mixed precision, and reuse of freed memory."""

import contextlib
import ctypes
import sys
from typing import Any

import torch

from fmnist_runtime.errors import ConfigError

__all__ = ["DEVICES", "autocast", "choose_device", "keep_freed_memory"]

DEVICES = ("auto", "cpu", "cuda", "mps")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, by their names and numbers in glibc's malloc.h."""
_LARGEST_MMAP_THRESHOLD = 32 << 20
"""Largest threshold in bytes that glibc accepts."""


def choose_device(name: str = "auto") -> torch.device:
    """Returns the requested device; ``auto`` chooses the fastest available one.

    Raises:
        ConfigError: The name is unknown, or the device is not available.
    """
    available = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    if name == "auto":
        return torch.device(next(n for n in ("cuda", "mps", "cpu") if available[n]))
    if name not in available:
        raise ConfigError(f"unknown device '{name}'; known: {', '.join(DEVICES)}")
    if not available[name]:
        raise ConfigError(f"device '{name}' is not available here; use --device auto")
    return torch.device(name)


def autocast(device: torch.device, enabled: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Returns a context of bfloat16 mixed precision; without native bfloat16, or if disabled, a context without effect."""
    if enabled and _has_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return False


def keep_freed_memory() -> None:
    """Keeps freed memory in this process for the next training step.

    By default glibc returns large free blocks to the system, which then clears thousands of pages at each step. Keeping them
    saves a few percent of a step (see ``benchmarks/studies/training_speed.py --memory``) and needs about 50 MB more memory. The
    function has no effect on other systems or with another allocator.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
