"""The generated C compiles without a warning, and gives the same bits, with both compilers at every optimization."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_export.c.emit import Source
from fmnist_runtime.selftest import unpack_golden

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
BUILDS = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "native": ("-O3", "-march=native"),
    "plain": ("-O3", "-march=native", "-DFMNIST_PLAIN_C"),
    "avx2": ("-O2", "-mavx2", "-mfma"),
    "without libm": ("-O1", "-DFMNIST_NO_LIBM"),
    "sanitizers": ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "plain sanitizers": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DFMNIST_PLAIN_C"),
}
Generated = Callable[[str], tuple[Path, Source]]


def build(folder: Path, program: Path, command: list[str], main: str = "selftest.c") -> None:
    sources = [*map(str, (folder / "src").glob("*.c")), str(folder / "extras" / main)]
    done = subprocess.run(
        [*command, f"-I{folder / 'src'}", *sources, "-o", str(program), "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def has_sanitizers(compiler: str, folder: Path) -> bool:
    """Whether a compiler links with its sanitizers, which Debian keeps in a package of their own."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    command = [compiler, "-fsanitize=address,undefined", str(folder / "empty.c"), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", BUILDS)
def test_same_bits(name: str, compiler: str, tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    folder, source = generated("nano")
    if "sanitizers" in name and compiler == "clang" and not has_sanitizers(need("clang"), tmp_path):
        pytest.skip("clang's sanitizers are not installed: apt-get install libclang-rt-dev")
    build(folder, tmp_path / "selftest", [need(compiler), "-std=c99", *WARNINGS, *BUILDS[name]])
    done = subprocess.run([str(tmp_path / "selftest")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    golden = unpack_golden(source.metadata.document["selftest"], len(source.metadata.labels))
    rows = [line.split()[-10:] for line in done.stdout.splitlines() if line.startswith("image")]
    assert rows == [[f"{bits:08x}" for bits in row] for row in golden.logits.view("<u4").tolist()]


def test_contraction_changes_nothing(tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    for compiler in ("gcc", "clang"):
        folder, _ = generated("micro")
        flags = ["-std=gnu99", "-O3", "-mavx2", "-mfma", "-ffp-contract=fast", "-DFMNIST_PLAIN_C"]
        build(folder, tmp_path / compiler, [need(compiler), *flags])
        assert subprocess.run([str(tmp_path / compiler)], capture_output=True, check=False).returncode == 0


def test_refuses_excess_precision_and_fast_math(
    tmp_path: Path, generated: Generated, need: Callable[[str], str]
) -> None:
    folder, _ = generated("nano")
    source = folder / "src" / "fmnist_nano.c"
    for flags, message in ((["-mfpmath=387"], "excess precision"), (["-ffast-math"], "same to the bit")):
        command = [need("gcc"), "-std=c99", "-c", *flags, str(source), "-o", str(tmp_path / "x.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert message in done.stderr


def test_header_is_cpp(tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    folder, _ = generated("nano")
    (tmp_path / "x.cpp").write_text('#include "fmnist_nano.h"\n#include "fmnist_prepare.h"\nint main() { return 0; }\n')
    command = [need("g++"), "-fsyntax-only", "-Wall", f"-I{folder / 'src'}", str(tmp_path / "x.cpp")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_example_reads_pgm(compiler: str, tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    if compiler == "clang" and not has_sanitizers(need("clang"), tmp_path):
        pytest.skip("clang's sanitizers are not installed: apt-get install libclang-rt-dev")
    folder, source = generated("nano")
    flags = ["-std=c99", *WARNINGS, "-O1", "-fsanitize=address,undefined"]
    build(folder, tmp_path / "example", [need(compiler), *flags], main="example_pgm.c")
    golden = unpack_golden(source.metadata.document["selftest"], len(source.metadata.labels))
    expected = source.metadata.labels[int(golden.logits[0].argmax())]

    def run(data: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "x.pgm").write_bytes(data)
        command = [str(tmp_path / "example"), str(tmp_path / "x.pgm")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run(b"P5\n# a comment\n28 28\n255\n" + golden.images[0].tobytes()).stdout.startswith(expected)
    assert "stands out" in run(b"P5 40 40 255\n" + bytes(1600)).stdout
    for damaged in (b"", b"P6 2 2 255\n", b"P5 99999 99999 255\n", b"P5 28 28 255\nshort"):
        done = run(damaged)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
