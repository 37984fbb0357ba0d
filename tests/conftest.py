"""Settings of all tests, and a last line that names what this machine lacks for some of them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Property-based tests try the same cases every time: a failure comes from the change, not from the day.
settings.register_profile("same-every-time", derandomize=True, database=None, deadline=None)
settings.load_profile("same-every-time")

if "PYTEST_XDIST_WORKER" in os.environ:
    # PyTorch starts a thread on each core and lets it wait in a loop, which takes the time of the other processes' tests.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SLOW = """
    bench/test_cli bench/test_fuzz docs/test_container docs/test_exit_codes docs/test_own_photos
    export/c/test_compilers export/c/test_every_network export/c/test_layers export/c/test_processors
    export/quantization/test_fallback export/quantization/test_qat export/quantization/test_quantize
    export/test_artifacts export/test_cli export/test_every_model export/test_faults export/test_model_card
    export/test_pipeline export/test_space export/test_variants
    integration/ runtime/serve/test_abuse runtime/serve/test_processes runtime/test_long_use
    runtime/workers/test_pool
    train/evaluation/test_evaluate train/evaluation/test_explore train/evaluation/test_plots train/recipes/test_options
    train/test_commands
    train/training/test_device train/training/test_loop train/training/test_teacher
    train/tuning/test_study
    web/test_kernels web/test_page web/test_screen web/test_served
"""
"""Files, and folders, whose tests take more than five seconds of processor time together: `make check` skips them."""

TOOLS: dict[tuple[str, ...], str] = {
    ("chromium", "chromium-browser", "google-chrome"): "chromium",
    ("qemu-x86_64-static",): "qemu-user-static",
    ("cc", "gcc"): "gcc",
    ("clang",): "clang",
    ("wasm-ld",): "lld",
    ("cmake",): "cmake",
    ("arm-none-eabi-gcc",): "gcc-arm-none-eabi",
    ("qemu-system-arm",): "qemu-system-arm",
    ("node",): "nodejs",
    ("/usr/share/datasets/fashion-mnist",): "dataset-fashion-mnist",
}
"""Programs, or files, that some tests need, by any of their names; and the Debian package that brings each."""


@pytest.fixture
def small_files() -> Iterator[None]:
    """Limits every file that this process writes to 16 KiB, as ``ulimit -f`` does; writing fails as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs the limits of POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow files as ``slow``."""
    slow = tuple(str(Path(__file__).parent / name) for name in SLOW.split())
    for item in items:
        if str(item.path).startswith(slow):
            item.add_marker(pytest.mark.slow)


def missing_packages() -> list[str]:
    """Returns the Debian packages of the tools that this machine lacks."""
    return [
        package
        for names, package in TOOLS.items()
        if not any(Path(name).exists() if name.startswith("/") else shutil.which(name) for name in names)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the missing tools in one line, with the command that installs them."""
    if missing := missing_packages():
        text = f"Tests that need other programs were skipped. To run them: apt-get install {' '.join(missing)}"
        terminalreporter.write_line(text, yellow=True)
