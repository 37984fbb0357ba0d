"""What a device reports about itself, and long use without growth."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime import Classifier


@pytest.mark.slow
def test_memory_stays_flat_over_100_000_calls() -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("this system does not tell a process's own peak memory")
    code = r"""
import re
import numpy as np
from pathlib import Path
from fmnist_runtime import Classifier
classifier = Classifier.load()
pixels = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
def use(calls):
    for i in range(calls):
        classifier(pixels[i % 64])
    return re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
early = use(4_000)
print(early, use(100_000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late <= early * 1.02


def test_many_threads_get_the_answers_of_one() -> None:
    classifier = Classifier.load()
    images = np.random.default_rng(0).integers(0, 256, (40, 60, 50, 3), dtype=np.uint8)
    expected = [classifier(image) for image in images]
    found: dict[int, list[object]] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: [classifier(image) for image in images]}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(4)] == [expected] * 4
