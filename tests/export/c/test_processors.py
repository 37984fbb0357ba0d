"""The same bits on microcontrollers, on RISC-V and on a big-endian processor, all emulated."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_export.c.emit import Source
from fmnist_runtime.selftest import unpack_golden

BOARD = Path(__file__).parents[3] / "benchmarks" / "studies" / "cortex_m"
MICROCONTROLLERS = {
    "Cortex-M4F": ("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "Cortex-M0+ (soft float)": ("mps2-an385", ("-mcpu=cortex-m0plus",)),
}
PROCESSORS = {
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64-static"),
    "s390x, big-endian": ("s390x-linux-gnu-gcc", "qemu-s390x-static"),
}
Generated = Callable[[str], tuple[Path, Source]]


def check(command: list[str], source: Source) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    golden = unpack_golden(source.metadata.document["selftest"], len(source.metadata.labels))
    rows = [line.split()[-10:] for line in done.stdout.splitlines() if line.startswith("image")]
    assert rows == [[f"{bits:08x}" for bits in row] for row in golden.logits.view("<u4").tolist()]


@pytest.mark.parametrize("model", ["nano", "micro"])
@pytest.mark.parametrize("name", MICROCONTROLLERS)
def test_microcontroller(
    name: str, model: str, tmp_path: Path, generated: Generated, need: Callable[[str], str]
) -> None:
    folder, source = generated(model)
    board, flags = MICROCONTROLLERS[name]
    command = [need("arm-none-eabi-gcc"), *flags, "-mthumb", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{folder / 'src'}", str(folder / "src" / f"fmnist_{model}.c"), str(folder / "extras" / "selftest.c")]
    command += [str(BOARD / "startup.c"), "-T", str(BOARD / "mps2.ld"), "--specs=rdimon.specs", "-nostartfiles"]
    done = subprocess.run([*command, "-lm", "-o", str(tmp_path / "x.elf")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    emulator = [need("qemu-system-arm"), "-M", board, "-display", "none"]
    check([*emulator, "-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "x.elf")], source)


@pytest.mark.parametrize("name", PROCESSORS)
def test_emulated_processor(name: str, tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    folder, source = generated("nano")
    compiler, emulator = PROCESSORS[name]
    command = [need(compiler), "-static", "-std=gnu99", "-O3", "-ffp-contract=fast", f"-I{folder / 'src'}"]
    command += [str(folder / "src" / "fmnist_nano.c"), str(folder / "extras" / "selftest.c")]
    done = subprocess.run([*command, "-lm", "-o", str(tmp_path / "x")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check([need(emulator), str(tmp_path / "x")], source)
