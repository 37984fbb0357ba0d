"""Cases of ``speed.py``: each function runs ours and the baseline interleaved, and returns the rounds of both.

Times are seconds, memory is bytes. Where a case measures whole processes, each round starts a new one with compiled bytecode,
as on a device.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_bench.distributions import closure, installed_bytes
from fmnist_runtime import Classifier
from fmnist_runtime.model_file.store import find_model

__all__ = ["cold", "folder", "jpeg", "lighter", "memory", "over_the_base", "photo"]

Pair = tuple[list[np.ndarray], list[np.ndarray]]
"""Rounds of ours and of the baseline."""

HERE = Path(__file__).parent
INFER = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
MODEL = find_model("improved")
_PARTS = ("fmnist_runtime/web", "fmnist_runtime/models", "fmnist_runtime", "fmnist_train", "fmnist_export")
"""Parts of a wheel by path prefix; a longer prefix comes before a shorter one that it begins with."""


# A process inherits the peak memory of the one that forked it, so this small program starts it.
LAUNCH = """
import os, sys, time
begin = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def _process(command: list[str]) -> tuple[float, int]:
    """Returns seconds and peak memory in bytes of a whole process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launch = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    done = subprocess.run(launch, capture_output=True, text=True, check=True, env=environment)
    seconds, memory, code = done.stdout.split()
    if int(code):
        raise SystemExit(f"error: {' '.join(command)} ended with {code}: {done.stderr}")
    return float(seconds), int(memory) * (1 if sys.platform == "darwin" else 1024)


def _processes(picture: Path, times: int, which: int) -> Pair:
    sides = ([*INFER, str(picture)], [sys.executable, str(HERE / "minimal_script.py"), str(MODEL), str(picture)])
    for side in sides:
        _process(side)  # warm the file cache and compile the bytecode
    rounds = [[np.array([_process(side)[which]]) for side in sides] for _ in range(times)]
    return [r[0] for r in rounds], [r[1] for r in rounds]


def _photo(folder: Path) -> Path:
    path = folder / "photo.png"
    with Image.open(HERE.parents[1] / "examples" / "shirt.jpg") as image:
        image.convert("RGB").resize((300, 300)).save(path)
    return path


def cold(folder: Path, times: int) -> Pair:
    """Measures ``fmnist-infer photo.png``, whole process, and the minimal script."""
    return _processes(_photo(folder), times, 0)


def memory(folder: Path, times: int) -> Pair:
    """Measures the peak resident memory of the same two."""
    return _processes(_photo(folder), max(3, times // 4), 1)


def _interleaved(ours: Callable[[], object], baseline: Callable[[], object], times: int, calls: int) -> Pair:
    rounds: Pair = ([], [])
    for number in range(times + 1):
        for side, call in zip(rounds, (ours, baseline), strict=True):
            took = np.empty(calls)
            for i in range(calls):
                begin = time.perf_counter()
                call()
                took[i] = time.perf_counter() - begin
            if number:  # the first round warms up
                side.append(took)
    return rounds


def lighter(folder: Path, times: int) -> Pair:
    """Measures the model calls of the embedded `improved-lite` and of the default model."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)
    lite, improved = Classifier.load("improved-lite"), Classifier.load()
    return _interleaved(lambda: lite.run(pixels), lambda: improved.run(pixels), times, 200)


def photo(folder: Path, times: int) -> Pair:
    """Measures a photo of 300×300 in a warm process, and Pillow's decoding with the model call alone."""
    path, classifier = _photo(folder), Classifier.load()
    pixels = np.zeros((1, 1, 28, 28), np.uint8)

    def baseline() -> None:
        with Image.open(path) as image:
            image.load()
        classifier.run(pixels)

    return _interleaved(lambda: classifier(path), baseline, times, 50)


def jpeg(folder: Path, times: int) -> Pair:
    """Measures a JPEG of 12 megapixels, and Pillow's decoding in draft mode."""
    with Image.open(HERE.parents[1] / "examples" / "shirt.jpg") as image:
        image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    path, classifier = folder / "large.jpg", Classifier.load()

    def baseline() -> None:
        with Image.open(path) as image:
            image.draft("RGB", (256, 256))
            image.load()

    return _interleaved(lambda: classifier(path), baseline, times, 3)


def folder(folder: Path, times: int) -> Pair:
    """Measures ``fmnist-infer`` on a folder of 10,000 images of 28×28, and the loop of the minimal script."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(min(10_000, 350 * times)):  # fewer in a quick run
        coarse = rng.integers(0, 256, (7, 7), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((28, 28), Image.Resampling.BICUBIC).save(file, "PNG")
        (pictures / f"{i:05}.png").write_bytes(file.getvalue())
    return _processes(pictures, max(3, times // 6), 0)


def over_the_base() -> dict[str, int]:
    """Returns the unpacked bytes that the base install adds to onnxruntime, numpy and Pillow, by distribution and part.

    The parts of this project are counted in a wheel, because an editable install lacks the files that a device gets.
    """
    base = closure(("onnxruntime", "numpy", "pillow"))
    others = [name for name in closure(("fmnist-edge",)) if name not in (*base, "fmnist-edge")]
    sizes = {name: installed_bytes(name) for name in others}
    with tempfile.TemporaryDirectory() as built:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            built,
            str(HERE.parents[1]),
        ]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(built).glob("*.whl"))) as wheel:
            for file in wheel.infolist():
                part = next((part for part in _PARTS if file.filename.startswith(part)), "metadata")
                sizes[part] = sizes.get(part, 0) + file.file_size
    return sizes
