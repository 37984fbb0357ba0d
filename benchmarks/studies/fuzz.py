"""Fuzzes the image decoder: each mutated file gives 28×28 bytes or an ``ImageError``, in bounded time and memory.

    python benchmarks/studies/fuzz.py --minutes 10        # for a duration
    python benchmarks/studies/fuzz.py --files 500         # the same files in every run

The photos in ``examples/`` are saved in every format and mode that Pillow writes, then damaged: bytes and header fields
change, pieces are cut, doubled, moved or taken from another file. Every second file changes in its structure instead (see
``fuzz_structure``). A worker process opens the files, so that a crash, a hang or too much memory is detected; the file that
caused it is kept. Exit code 1: there was such a file.
"""

import argparse
import io
import itertools
import random
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fuzz_structure import mutate_structure
from PIL import Image

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.pipeline import to_network_input

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60
"""Seconds for one small file, after which it counts as a hang, even on a busy machine."""
MEGABYTES = 1500
"""Limit of a worker's peak memory in MiB: more than the largest accepted image needs."""
MODES = {
    "JPEG": "L RGB CMYK", "PNG": "1 L LA I;16 P RGB RGBA", "WEBP": "RGB RGBA", "GIF": "L P", "BMP": "1 L P RGB",
    "TIFF": "1 L LA I;16 I F P RGB RGBA CMYK LAB", "PPM": "1 L RGB I;16", "ICO": "RGBA", "ICNS": "RGBA", "TGA": "L RGB P",
    "PCX": "1 L P RGB", "SGI": "L RGB RGBA", "JPEG2000": "L RGB RGBA", "AVIF": "RGB RGBA", "QOI": "RGB RGBA", "BLP": "P",
    "DDS": "L RGB RGBA", "IM": "L RGB", "MSP": "1", "SPIDER": "F", "XBM": "1", "MPO": "RGB", "EPS": "RGB",
}  # fmt: skip
OPTIONS = {"JPEG": [{}, {"progressive": True}], "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}]}
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
"""Byte values at the limits of signed and unsigned types."""


def seeds() -> list[bytes]:
    """Returns small example photos as files, in every format, mode and variant that this Pillow writes."""
    photos = [Image.open(path).convert("RGB").resize((60, 80)) for path in sorted(EXAMPLES.glob("*.jpg"))[:3]]
    files = []
    for kind, modes in MODES.items():
        for number, mode in enumerate(modes.split()):
            picture = converted(photos[number % len(photos)], mode)
            for options in OPTIONS.get(kind, [{}]):
                file = io.BytesIO()
                try:
                    picture.save(file, kind, **options)
                except (OSError, KeyError, ValueError):  # Pillow was built without the format, or it lacks the mode
                    continue
                files.append(file.getvalue())
    return files


def converted(picture: Image.Image, mode: str) -> Image.Image:
    """Returns an RGB image in another mode."""
    if mode == "LAB":
        return Image.merge("LAB", picture.split())
    return (picture.convert("L") if mode == "I;16" else picture).convert(mode)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Returns a damaged copy: 1 to 16 changes, half of them within the first 200 bytes."""
    file = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        span = len(file) if rng.random() < 0.5 else min(len(file), 200)
        at = rng.randrange(max(1, span))
        piece = slice(at, at + rng.choice((1, 2, 4, 8, 64, 1000)))
        match rng.randrange(7):
            case 0:
                file[at : at + 1] = bytes([rng.choice((*EDGES, rng.randrange(256)))])
            case 1:  # a size or an offset
                file[at : at + 4] = rng.choice((rng.randbytes(4), b"\xff" * 4, bytes([127, 255, 255, 255])))
            case 2:
                del file[piece]
            case 3:
                file[at:at] = file[piece] * rng.choice((1, 2, 500))
            case 4:
                del file[rng.randrange(len(file) + 1) :]
            case 5:
                begin = rng.randrange(len(other))
                file[piece] = other[begin : begin + piece.stop - piece.start]
            case _:
                file[piece] = rng.randbytes(piece.stop - piece.start)
    return bytes(file)


def mutant(files: list[bytes], number: int, seed: int) -> bytes:
    """Returns the damaged file of that number, the same in every run."""
    rng = random.Random(f"{seed}/{number}")
    data, other = rng.choice(files), rng.choice(files)
    structured = mutate_structure(data, rng) if number % 2 else None
    return structured if structured is not None else mutate(data, other, rng)


def work(first: int, seed: int) -> None:
    """Opens one file after another without end, and prints ``number outcome megabytes`` after each."""
    files = seeds()
    for number in itertools.count(first):
        outcome = "picture"
        try:
            seen = to_network_input(open_image(mutant(files, number, seed)))
            if seen.shape != (28, 28) or seen.dtype != "uint8":
                outcome = "not-28×28"
        except ImageError as error:
            outcome = "refused" if str(error) and str(error).isprintable() else "unclear-message"
        except Exception as error:
            outcome = type(error).__name__
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(number, outcome, peak, flush=True)


def outcomes(seed: int) -> Iterator[tuple[int, str]]:
    """Yields number and outcome of each file without end; replaces a worker that crashes, hangs or grows too large."""
    number = 0
    while True:
        command = [sys.executable, __file__, "--worker", str(number), "--seed", str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
            try:
                while True:
                    quiet = not select.select([worker.stdout], [], [], SECONDS)[0]
                    line = b"" if quiet else worker.stdout.readline()
                    if not line:
                        outcome, megabytes = "hang" if quiet else f"crash {worker.wait()}", "0"
                    else:
                        _, outcome, megabytes = line.decode().split()
                    too_large = int(megabytes) > MEGABYTES
                    yield number, f"{megabytes} MB" if too_large else outcome
                    number += 1
                    if not line or too_large:
                        break
            finally:
                worker.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--files", type=int, help="number of files, instead of a duration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for the files that cause a fault"
    )
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker, options.seed)
    counts: dict[str, int] = {}
    end = time.monotonic() + 60 * options.minutes
    for number, outcome in outcomes(options.seed):
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome not in ("picture", "refused"):
            options.keep.mkdir(parents=True, exist_ok=True)
            path = options.keep / f"{options.seed}-{number}.bin"
            path.write_bytes(mutant(seeds(), number, options.seed))
            print(f"{path}: {outcome}", file=sys.stderr)
        if number + 1 >= options.files if options.files else time.monotonic() > end:
            break
    print(", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items())))
    return int(not counts.keys() <= {"picture", "refused"})


if __name__ == "__main__":
    sys.exit(main())
