"""Memory and speed of the shipped models as plain C: on an emulated Cortex-M, and on this machine beside onnxruntime.

    python benchmarks/studies/microcontrollers.py [--photos FOLDER]

Writes ``benchmarks/results/microcontrollers.json`` and the tables of ``docs/microcontrollers.md``. Needs gcc, the packages
gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, and takes about a minute. QEMU counts instructions, not
cycles. With photos on a plain background, in folders named after the accepted classes joined by ``+``, it also compares
``fmnist_prepare_grey`` with the Python preprocessing; without photos, the earlier figures stay. Calls of C and of onnxruntime
alternate, so that other load affects both.
"""

import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tables import NAMES, RESULTS, ROOT, write_tables

from fmnist_export.c.comparison import write_files
from fmnist_export.c.emit import Source, generate
from fmnist_export.c.fusion import fuse_pooling
from fmnist_export.c.memory import plan_memory
from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.network.layers import Network
from fmnist_runtime.network.reader import read_network
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.selftest import unpack_golden
from fmnist_train.files import read_object

HERE = Path(__file__).parent
BOARD = HERE / "cortex_m"
CORTEX = {
    "m4f": ("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "m0plus": ("mps2-an385", ("-mcpu=cortex-m0plus",)),
}
"""QEMU's board and the compiler's flags. The second board has a Cortex-M3, which runs the M0+'s instructions."""
INSTRUCTIONS_PER_TICK = 40
"""The boards' clock of 25 MHz, at 1 ns for each instruction."""
ROUNDS, CALLS, STARTS = 40, 20, 15
"""Rounds of hot calls, calls in a round, and process starts; the first tenth of the rounds warms up."""
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off")


def run(*command: str | Path) -> str:
    """Runs a command and returns its standard output."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def defines(prefix: str) -> list[str]:
    """Returns the compiler flags that name the model in a program."""
    sizes = [f"-DMODEL_{size}={prefix.upper()}_{size}" for size in ("PIXELS", "CLASSES")]
    return [f'-DMODEL_HEADER="{prefix}.h"', f"-DMODEL_CLASSIFY={prefix}_classify", *sizes]


def on_cortex(folder: Path, prefix: str, core: str) -> dict[str, int]:
    """Returns flash and RAM of the model's object file, its stack, and instructions for one image, in bytes and counts."""
    board, flags = CORTEX[core]
    source, build = folder / "src" / f"{prefix}.c", folder / core
    build.mkdir()
    compiler = ["arm-none-eabi-gcc", *flags, "-mthumb", "-std=c99", "-O2", "-ffp-contract=off", f"-I{folder / 'src'}"]
    run(*compiler, "-fstack-usage", "-ffunction-sections", "-DFMNIST_NO_LIBM", "-c", source, "-o", build / "model.o")
    text, data, bss = map(int, run("arm-none-eabi-size", build / "model.o").splitlines()[1].split()[:3])
    programs: list[str | Path] = [source, BOARD / "count.c", BOARD / "startup.c", "-T", BOARD / "mps2.ld"]
    link: list[str | Path] = ["--specs=rdimon.specs", "-nostartfiles", "-lm", "-o", build / "count.elf"]
    run(*compiler, *defines(prefix), *programs, *link)
    machine = ["qemu-system-arm", "-M", board, "-icount", "shift=0", "-display", "none"]
    ticks = run(*machine, "-semihosting-config", "enable=on,target=native", "-kernel", build / "count.elf")
    return {
        "flash": text + data,
        "ram": data + bss,
        "stack": stack_bytes((build / "model.su").read_text("utf-8")),
        "instructions": int(ticks) * INSTRUCTIONS_PER_TICK,
    }


def stack_bytes(report: str) -> int:
    """Returns an upper bound of the stack from ``-fstack-usage``: the largest layer, and every other function once."""
    sizes = {name: int(size) for name, size in re.findall(r":(\w+)\t(\d+)\t", report)}
    layers = [size for name, size in sizes.items() if name.startswith("layer_")]
    return max(layers, default=0) + sum(size for name, size in sizes.items() if not name.startswith("layer_"))


def host_library(folder: Path, prefix: str) -> ctypes.CDLL:
    """Returns a model compiled for this machine, with the functions of ``host_c.c``."""
    library = folder / "host.so"
    sources = [HERE / "host_c.c", folder / "src" / f"{prefix}.c"]
    run("gcc", *FLAGS, "-shared", "-fPIC", *defines(prefix), f"-I{folder / 'src'}", *sources, "-o", library, "-lm")
    return ctypes.CDLL(str(library))


def hot_calls(library: ctypes.CDLL, classifier: Classifier, image: np.ndarray) -> dict[str, float]:
    """Returns median microseconds of a call of each, and the median ratio of neighboring rounds."""
    mean_call = library.mean_call
    mean_call.restype = ctypes.c_double
    pixels, batch = image.ctypes.data_as(ctypes.c_void_p), image[None, None]
    rows = []
    for _ in range(ROUNDS):
        ours = mean_call(pixels, CALLS)
        start = time.perf_counter()
        for _ in range(CALLS):
            classifier.run(batch)
        rows.append((ours, (time.perf_counter() - start) * 1e6 / CALLS))
    found = np.array(rows[ROUNDS // 10 :])
    ratio = float(np.median(found[:, 0] / found[:, 1]))
    return {"c_us": float(np.median(found[:, 0])), "onnxruntime_us": float(np.median(found[:, 1])), "ratio": ratio}


def cold_starts(folder: Path, prefix: str, model: Path, image: np.ndarray) -> dict[str, float]:
    """Returns milliseconds of the fastest start and peak memory in MB of a whole process for one image."""
    launch, program, picture = folder / "launch", folder / "example", folder / "picture.pgm"
    picture.write_bytes(b"P5 28 28 255\n" + image.tobytes())
    run("gcc", "-O2", "-static", "-DLAUNCH", HERE / "host_c.c", "-o", launch)
    sources = [folder / "src" / f"{prefix}.c", folder / "extras" / "example_pgm.c"]
    run("gcc", *FLAGS, "-static", f"-I{folder / 'src'}", *sources, "-o", program, "-lm")
    infer = "from fmnist_runtime.cli.infer import main; main()"
    python = [sys.executable, "-c", infer, "--model", str(model), str(picture)]
    commands = {"c": [str(program), str(picture)], "onnxruntime": python}
    starts: dict[str, list[list[float]]] = {key: [] for key in commands}
    for _ in range(STARTS):
        for key, command in commands.items():
            starts[key].append([float(number) for number in run(launch, *command).split()])
    best = {key: np.min(rows, axis=0) for key, rows in starts.items()}
    return {
        f"{key}_{unit}": float(values[i] / scale)
        for key, values in best.items()
        for i, (unit, scale) in enumerate((("cold_ms", 1e3), ("peak_mb", 1e3 * 1000 / 1024)))
    }


def write_model(name: str, folder: Path) -> tuple[Network, str, Classifier]:
    """Writes a shipped model as C; returns its layers, the prefix of its C names, and the model."""
    path = ROOT / "artifacts" / name / "model.int8.onnx"
    classifier, data, short = Classifier.load(path), path.read_bytes(), name.replace("-", "_")
    network = read_network(data)
    write_files(generate(network, Source(short, path.name, data, classifier.metadata)), folder)
    return network, f"fmnist_{short}", classifier


def gray_frames(photos: Path) -> dict[str, Any]:
    """Returns the accuracy of each model, without rejection, for each way to prepare the photos."""
    files = sorted(path for path in photos.rglob("*.jpg"))
    colors = [Image.open(path).convert("RGB") for path in files]
    grays = [image.convert("L") for image in colors]
    with tempfile.TemporaryDirectory() as folder:
        _, prefix, _ = write_model("nano", Path(folder))
        library = host_library(Path(folder), prefix)
        views = {
            "python_color": [to_network_input(image) for image in colors],
            "python_grey": [to_network_input(image) for image in grays],
            "c_grey": [prepared(library, np.array(image)) for image in grays],
        }
    models = {}
    for name in NAMES:
        classifier = Classifier.load(ROOT / "artifacts" / name)
        slugs = [label.lower().replace("/", "-").replace(" ", "-") for label in classifier.labels]
        accepted = [path.parent.name.split("+") for path in files]
        models[name] = {
            key: float(
                np.mean([slugs[i] in classes for i, classes in zip(answers(classifier, view), accepted, strict=True)])
            )
            for key, view in views.items()
        }
    return {"photos": len(files), "models": models}


def prepared(library: ctypes.CDLL, gray: np.ndarray) -> np.ndarray:
    """Returns the 28×28 image that ``fmnist_prepare_grey`` makes of uint8 ``[H, W]``."""
    image = np.zeros((28, 28), np.uint8)
    height, width = gray.shape
    library.prepare(gray.ctypes.data_as(ctypes.c_void_p), width, height, image.ctypes.data_as(ctypes.c_void_p))
    return image


def answers(classifier: Classifier, view: list[np.ndarray]) -> list[int]:
    """Returns the class with the largest logit of each image."""
    found: list[int] = classifier.logits(np.stack(view)[:, None]).argmax(axis=1).tolist()
    return found


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Returns all figures of one model."""
    network, prefix, classifier = write_model(name, folder)
    path = ROOT / "artifacts" / name / "model.int8.onnx"
    image = unpack_golden(classifier.metadata.document["selftest"], len(classifier.labels)).images[0, 0].copy()
    return {
        "macs": network.macs,
        "scratch": plan_memory(fuse_pooling(network)).size,
        **{core: on_cortex(folder, prefix, core) for core in CORTEX},
        **hot_calls(host_library(folder, prefix), classifier, image),
        **cold_starts(folder, prefix, path, image),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photos with plain backgrounds, by accepted classes"
    )
    photos = parser.parse_args().photos
    earlier = read_object(RESULTS / "microcontrollers.json").get("grey")
    gray = gray_frames(photos) if photos else earlier
    models = {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            models[name] = measure(name, Path(folder))
        print(name, json.dumps(models[name]), file=sys.stderr, flush=True)
    compilers = {
        tool: run(tool, "--version").splitlines()[0] for tool in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
    }
    document = {
        "machine": describe_machine(),
        "load": os.getloadavg()[0],
        "tools": compilers,
        "models": models,
        "grey": gray,
    }
    write_atomically(RESULTS / "microcontrollers.json", json.dumps(document, indent=1) + "\n")
    write_tables("microcontrollers", "plain C", "gray frames")


if __name__ == "__main__":
    main()
