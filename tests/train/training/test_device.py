"""What becomes of freed memory."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from fmnist_train.training.device import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for turn in range(30):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(b"1") * (20 << 20) for _ in range(4)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_memory_is_kept() -> None:
    """Counts page faults of 80 MB that are allocated and freed repeatedly: on each allocation, or once."""
    faults = {}
    for mode in ("kept", "returned"):
        command = [sys.executable, "-c", FAULTS, mode]
        faults[mode] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults["kept"] < 100 < faults["returned"] / 10
