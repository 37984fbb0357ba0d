"""The whole pipeline in under two minutes, on the embedded sample of real images: `make demo`.

    python examples/demo.py [FOLDER]

Writes the run, its report, a sheet of the example photos and the browser page into FOLDER, which must be new. Without FOLDER, it
is runs/demo, and an earlier demo there is removed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = "runs/demo"
MARK = ".fmnist-demo"
"""Empty file of a folder that this program made, and may remove."""
COMMANDS = {
    "fmnist-train": "from fmnist_train.__main__ import main; main()",
    "fmnist-export": "from fmnist_export.__main__ import main; main()",
    "fmnist-infer": "from fmnist_runtime.cli.infer import main; main()",
}


def step(what: str, command: str, *arguments: str) -> None:
    """Prints a heading and the command, runs it in the repository's root, and prints how long it took."""
    print(f"\n== {what}\n$ {command} {' '.join(arguments)}", flush=True)
    program = ["-c", COMMANDS[command]] if command in COMMANDS else [command]
    start = time.perf_counter()
    code = subprocess.run([sys.executable, *program, *arguments], cwd=ROOT).returncode
    if code:
        raise SystemExit(code)
    print(f"({time.perf_counter() - start:.0f} s)", flush=True)


def main() -> None:
    """Runs all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    chosen = parser.parse_args().folder
    folder = FOLDER if chosen is None else str(chosen.absolute())
    if chosen is None and (ROOT / FOLDER / MARK).is_file() and not (ROOT / FOLDER).is_symlink():
        shutil.rmtree(ROOT / FOLDER)
    if os.path.lexists(ROOT / folder):
        parser.error(f"{chosen or FOLDER} exists: name a new folder")
    try:
        (ROOT / folder).mkdir(parents=True)
        (ROOT / folder / MARK).touch()
    except OSError as error:
        parser.error(f"{chosen or FOLDER} cannot be made: {error.strerror}")
    start = time.perf_counter()
    print("The demo trains a small network, exports it, verifies the files, and classifies photos: about a minute.")
    sample = ("--data", "sample")
    step("Train for a few epochs", "fmnist-train", *sample, "--recipe", "custom", "--epochs", "8", "--output", folder)
    step("Explain its mistakes", "fmnist-train", "evaluate", folder, *sample)
    step("Export to ONNX and int8; compare both with PyTorch", "fmnist-export", folder, "--quantize", *sample)
    step("Classify photos with the model that ships", "fmnist-infer", "examples")
    sheet = f"{folder}/photos.png"
    step("Draw what the network saw", "benchmarks/studies/photo_sheet.py", "examples", sheet)
    step("Write the browser page", "fmnist-infer", "web", f"{folder}/page")
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Open:")
    print(f"  {folder}/evaluation/report.html   the run: accuracy, mistakes, where the network looked")
    print(f"  {sheet}               the photos, what the network saw, its answers; hard ones are marked")
    print(f"  http://localhost:8000             the page, after: {sys.executable} -m http.server -d {folder}/page")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
