"""How many processors this process may really use: a container on a large host is a small device."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MOST_PROCESSES", "MOST_THREADS", "available_cpus", "quota"]

MOST_THREADS, MOST_PROCESSES = 256, 1024
"""More than anything here has use for; many more take minutes to start, or all memory."""


def available_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs, at least 1: the affinity of this process, capped by its control groups' quota.

    Args:
        root: where ``proc`` and ``sys`` stand; another place only in tests.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota(root)
    return count if limit is None else max(1, min(count, int(limit)))


def quota(root: Path = Path("/")) -> float | None:
    """CPUs that the tightest control group grants, of either version of the kernel's interface; None: no limit.

    See "CPU Interface Files" in https://docs.kernel.org/admin-guide/cgroup-v2.html.
    """
    limits = [limit for folder in _folders(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _folders(root: Path) -> Iterator[Path]:
    """The control group of this process and all above it; inside a container the outermost is all that can be seen."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents)


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():  # version 2: "200000 100000", or "max 100000"
            granted, period = (folder / "cpu.max").read_text().split()
        else:
            granted, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(granted) / int(period) if granted != "max" and int(granted) > 0 else None
    except (OSError, ValueError):
        return None
