"""Advice for the device, and the progress bar."""

import json
import subprocess
import sys

import pytest

from fmnist_runtime.cli.doctor import advise
from fmnist_runtime.cli.progress import Progress

FACTS = {"flags": ["avx2"], "memory": 1 << 30}


@pytest.mark.parametrize(("flags", "saturates"), [(["avx2"], True), (["avx512_vnni"], False), (["asimddp"], False)])
def test_advice_follows_the_instruction_set(flags: list[str], saturates: bool) -> None:
    advice = advise({**FACTS, "flags": flags})
    assert advice.target == "portable" and any("saturate" in reason for reason in advice.reasons) == saturates


def test_short_memory_is_said() -> None:
    assert any("memory is short" in reason for reason in advise({**FACTS, "memory": 1 << 26}).reasons)


def test_the_doctors_report() -> None:
    code = "from fmnist_runtime.cli.infer import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--doctor", "--json"], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert "cpu" in found["device"]["providers"] and found["device"]["memory"] > 0
    assert found["advice"]["model"] in found["device"]["models"]


def test_the_progress_bar_says_how_far_it_is() -> None:
    progress = Progress(40)
    for _ in range(10):
        progress.step()
    assert progress.line(2.0) == f"[{'#' * 7:<30}] 10 of 40, 5 a second, 6 s left"
