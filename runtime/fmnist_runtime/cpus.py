"""CPUs, threads and memory that this process may use: a container may get only a few CPUs of a large host."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "MAX_PROCESSES",
    "MAX_THREADS",
    "NO_THREAD",
    "available_cpus",
    "grantable_threads",
    "limits_address_space",
    "quota",
    "start_threads",
]

MAX_THREADS = 256
"""Largest number of threads of one model call. More would take minutes to start, or use all memory."""
NO_THREAD = "cannot start a thread: the system's limit on processes or memory is reached"
"""Message of an error."""
MAX_PROCESSES = 1024
"""Largest number of worker processes; see ``MAX_THREADS``."""


def available_cpus(root: Path = Path("/")) -> int:
    """Returns the number of whole CPUs that this process may use, at least 1.

    It is the number of CPUs in the process's affinity mask, limited by the quota of its control groups.

    Args:
        root: Folder with ``proc`` and ``sys``; only tests pass another one.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota(root)
    return count if limit is None else max(1, min(count, int(limit)))


def quota(root: Path = Path("/")) -> float | None:
    """Returns the smallest CPU quota of this process's control groups, in CPUs; None: no limit.

    Reads versions 1 and 2 of the interface; see "CPU Interface Files" in
    https://docs.kernel.org/admin-guide/cgroup-v2.html.

    Args:
        root: See ``available_cpus``.
    """
    limits = [limit for folder in _control_groups(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def start_threads(function: Callable[[], object], count: int) -> list[threading.Thread]:
    """Starts daemon threads that each call the function once, and returns those that started.

    Args:
        function: Called without arguments.
        count: Number of threads; fewer start where the system's limit is reached.
    """
    started: list[threading.Thread] = []
    for _ in range(count):
        thread = threading.Thread(target=function, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread": a limit on processes, or no memory for a stack
            break
        started.append(thread)
    return started


def grantable_threads(count: int) -> int:
    """Returns how many of ``count`` further threads the system lets this process start now; all of them are ended."""
    end = threading.Event()
    started = start_threads(end.wait, count)
    end.set()
    for thread in started:
        thread.join()
    return len(started)


def _control_groups(root: Path) -> Iterator[Path]:
    """Yields the folders of this process's control group and of its parents that are visible inside a container."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
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


def limits_address_space() -> bool:
    """Returns whether this process has a limit on its memory (``ulimit -v``)."""
    try:
        import resource  # absent on Windows
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
