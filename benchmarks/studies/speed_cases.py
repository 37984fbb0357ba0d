"""The ratios that ``speed.py`` measures: each function runs both sides in turns and returns the rounds of each.

Times are seconds, memory is bytes. A side of one process is a fresh process each time, bytecode compiled, as on a device.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_bench.distributions import closure, installed_bytes
from fmnist_runtime import Classifier

__all__ = ["cold", "folder", "jpeg", "lighter", "memory", "over_the_base", "photo"]

Pair = tuple[list[np.ndarray], list[np.ndarray]]
"""Rounds of ours and of theirs."""

HERE = Path(__file__).parent
INFER = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
MODEL = files("fmnist_runtime") / "models" / "improved.onnx"
_PARTS = ("fmnist_runtime/web", "fmnist_runtime/models", "fmnist_runtime", "fmnist_train", "fmnist_export")
"""Of a wheel, by the beginning of its files' names; a longer one comes before the one that it begins with."""


# A process starts with the peak memory of the one that forked it, so this small one stands in between.
LAUNCH = """
import os, sys, time
begin = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def _process(command: list[str]) -> tuple[float, int]:
    """Seconds and peak memory of a whole process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launch = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    done = subprocess.run(launch, capture_output=True, text=True, check=True, env=environment)
    seconds, memory, code = done.stdout.split()
    if int(code):
        raise SystemExit(f"error: {' '.join(command)} ended with {code}: {done.stderr}")
    return float(seconds), int(memory) * (1 if sys.platform == "darwin" else 1024)


def _processes(picture: Path, times: int, which: int) -> Pair:
    with as_file(MODEL) as model:
        sides = ([*INFER, str(picture)], [sys.executable, str(HERE / "bare.py"), str(model), str(picture)])
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
    """``fmnist-infer photo.png``, whole process, and the bare script."""
    return _processes(_photo(folder), times, 0)


def memory(folder: Path, times: int) -> Pair:
    """Peak resident memory of the same two."""
    return _processes(_photo(folder), max(3, times // 4), 1)


def _in_turns(ours: Callable[[], object], theirs: Callable[[], object], times: int, calls: int) -> Pair:
    rounds: Pair = ([], [])
    for turn in range(times + 1):
        for side, call in zip(rounds, (ours, theirs), strict=True):
            took = np.empty(calls)
            for i in range(calls):
                begin = time.perf_counter()
                call()
                took[i] = time.perf_counter() - begin
            if turn:  # the first is for warming up
                side.append(took)
    return rounds


def lighter(folder: Path, times: int) -> Pair:
    """The bare calls of the embedded `improved-lite` and of the default."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)
    lite, improved = Classifier.load("improved-lite"), Classifier.load()
    return _in_turns(lambda: lite.run(pixels), lambda: improved.run(pixels), times, 200)


def photo(folder: Path, times: int) -> Pair:
    """A photo of 300×300 to its answer in a warm process, and Pillow's decoding with the bare model call."""
    path, classifier = _photo(folder), Classifier.load()
    pixels = np.zeros((1, 1, 28, 28), np.uint8)

    def theirs() -> None:
        with Image.open(path) as image:
            image.load()
        classifier.run(pixels)

    return _in_turns(lambda: classifier(path), theirs, times, 50)


def jpeg(folder: Path, times: int) -> Pair:
    """A JPEG of 12 megapixels to its answer, and Pillow's decoding in draft mode."""
    with Image.open(HERE.parents[1] / "examples" / "shirt.jpg") as image:
        image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    path, classifier = folder / "large.jpg", Classifier.load()

    def theirs() -> None:
        with Image.open(path) as image:
            image.draft("RGB", (256, 256))
            image.load()

    return _in_turns(lambda: classifier(path), theirs, times, 3)


def folder(folder: Path, times: int) -> Pair:
    """10,000 pictures of 28×28: ``fmnist-infer`` on the folder, and the bare loop. Rounds of seconds."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(min(10_000, 350 * times)):  # fewer for a quick look
        coarse = rng.integers(0, 256, (7, 7), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((28, 28), Image.Resampling.BICUBIC).save(file, "PNG")
        (pictures / f"{i:05}.png").write_bytes(file.getvalue())
    return _processes(pictures, max(3, times // 6), 0)


def over_the_base() -> dict[str, int]:
    """Bytes that the base install brings over onnxruntime, numpy and Pillow, unpacked: other distributions, and our parts.

    Ours are counted in a wheel made for this: an editable install has not the files that a device gets.
    """
    base = closure(("onnxruntime", "numpy", "pillow"))
    others = [name for name in closure(("fmnist-edge",)) if name not in (*base, "fmnist-edge")]
    sizes = {name: installed_bytes(name) for name in others}
    with tempfile.TemporaryDirectory() as made:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            made,
            str(HERE.parents[1]),
        ]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(made).glob("*.whl"))) as wheel:
            for file in wheel.infolist():
                part = next((part for part in _PARTS if file.filename.startswith(part)), "metadata")
                sizes[part] = sizes.get(part, 0) + file.file_size
    return sizes
