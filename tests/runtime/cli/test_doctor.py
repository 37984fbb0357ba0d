"""Advice for the device."""

import json
import subprocess
import sys

import pytest

from fmnist_runtime.cli import doctor
from fmnist_runtime.cli.doctor import advise

FACTS = {"flags": ["avx2"], "memory": 1 << 30}


@pytest.mark.parametrize(("flags", "saturates"), [(["avx2"], True), (["avx512_vnni"], False), (["asimddp"], False)])
def test_advice_follows_the_instruction_set(flags: list[str], saturates: bool) -> None:
    advice = advise({**FACTS, "flags": flags})
    assert advice.target == "portable" and any("saturate" in reason for reason in advice.reasons) == saturates


def test_short_memory_is_reported() -> None:
    assert any("memory is short" in reason for reason in advise({**FACTS, "memory": 1 << 26}).reasons)


def test_the_doctors_report() -> None:
    code = "from fmnist_runtime.cli.infer import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--doctor", "--json"], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert "cpu" in found["device"]["providers"] and found["device"]["memory"] > 0
    assert found["advice"]["model"] in found["device"]["models"]


@pytest.mark.parametrize(("limit", "memory"), [(None, None), (0.5, 1 << 30)])
def test_the_report_as_text(limit: float | None, memory: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = doctor.examine() | {"cgroup_limit": limit, "memory": memory, "flags": []}
    monkeypatch.setattr(doctor, "examine", lambda: facts)
    rows = dict(line.split(maxsplit=1) for line in doctor.report(as_json=False).splitlines() if line[:1].strip())
    assert rows["memory"] == ("1024 MiB" if memory else "unknown")
    assert ("control group 0.5" in rows["CPUs"]) == bool(limit)
    assert "--model" in rows["use"] and "--target portable" in rows["use"]
