"""The description of the machine, from what different systems report."""

import json

import pytest

from fmnist_runtime import machine

X86 = "processor : 0\nmodel name : Some Processor\nflags : fpu avx2 avx512f sse4_2\n"
ARM = "processor : 0\nFeatures : fp asimd asimddp i8mm\nCPU part : 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "flags"), [(X86, ["sse4_2", "avx2", "avx512f"]), (ARM, ["asimddp", "i8mm"]), ("", [])]
)
def test_instruction_sets_by_system(text: str, flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: text if path == "/proc/cpuinfo" else "powersave\n")
    found = json.loads(json.dumps(machine.describe_machine()))
    assert found["flags"] == flags and found["governor"] == "powersave"
    assert found["processor"] == "Some Processor" if text == X86 else found["processor"]


def test_what_a_system_does_not_report_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", unknown)
    monkeypatch.setattr(machine, "_read", lambda path: "")
    found = machine.describe_machine()
    assert found["memory"] is None and found["governor"] is None and found["flags"] == []
