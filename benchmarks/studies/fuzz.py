"""Fuzzes whatever reads untrusted files: each mutated input is read or refused in one line, in bounded time and memory.

    python benchmarks/studies/fuzz.py                             # 10,000 inputs, half of them images
    python benchmarks/studies/fuzz.py --inputs 500                # the first 500 of them, the same in every run
    python benchmarks/studies/fuzz.py --targets csv idx --minutes 2

Every second input has random damage: bytes and header fields change, pieces are cut, doubled, moved or taken from another
file. The others change in their structure: chunks, tags, columns, parts or JSON values. A worker process for each target
reads them under limits of the system, so that a crash, a hang or too much memory is detected; the input that caused it is
kept. Exit code 1: there was such an input.
"""

import argparse
import contextlib
import itertools
import math
import random
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

from fuzz_targets import TARGETS, Target

INPUTS = 10_000
"""Inputs of a full run."""
SECONDS = 10
"""Processor time of one small input, after which the system ends the worker: a hang."""
WAIT_SECONDS = 120
"""Seconds without an outcome, after which a worker counts as hung: it may wait for a busy machine."""
MEGABYTES = 400
"""Limit of a worker's peak resident memory in MiB beyond its libraries, which take up to 100 MiB on a device: 500 in all."""
SPARE_MEGABYTES = 1500
"""Address space in MiB that the system grants a worker beyond its libraries: it protects the machine from a runaway."""
READ, REFUSED = "read", "refused"
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
"""Byte values at the limits of signed and unsigned types."""


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


def mutant(target: Target, files: list[bytes], number: int, seed: int) -> bytes:
    """Returns the damaged input of that number, the same in every run."""
    rng = random.Random(f"{seed}/{number}")
    data, other = rng.choice(files), rng.choice(files)
    structured = target.mutate(data, rng) if number % 2 else None
    return structured if structured is not None else mutate(data, other, rng)


def work(name: str, first: int, seed: int) -> None:
    """Reads one input after another without end, and prints ``number outcome megabytes`` after each."""
    target = TARGETS[name]
    files = target.seeds()
    target.read(files[0])  # loads the libraries
    libraries, limit = memory("VmRSS"), (memory("VmSize") + SPARE_MEGABYTES) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process even within a library
    for number in itertools.count(first):
        data = mutant(target, files, number, seed)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = READ
        try:
            target.read(data)
        except target.refusals as error:
            message = str(getattr(error, "detail", error))
            outcome = REFUSED if message and "\n" not in message else "unclear-message"
            if "more memory than is available" in message:
                outcome = "MemoryError"
        except Exception as error:
            outcome = type(error).__name__
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(number, outcome, max(0, memory("VmHWM") - libraries), flush=True)


def memory(field: str) -> int:
    """Returns a field of this process's memory status in MiB."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) >> 10


def outcomes(name: str, seed: int) -> Generator[tuple[int, str, int]]:
    """Yields number, outcome and peak MiB of each input without end; replaces a worker that crashes, hangs or grows."""
    number = 0
    while True:
        command = [sys.executable, __file__, "--worker", name, str(number), "--seed", str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
            try:
                assert worker.stdout is not None
                while True:
                    quiet = not select.select([worker.stdout], [], [], WAIT_SECONDS)[0]
                    line = b"" if quiet else worker.stdout.readline()
                    if not line:
                        hung = quiet or worker.wait() == -signal.SIGPROF
                        outcome, megabytes = "hang" if hung else f"crash {worker.wait()}", "0"
                    else:
                        _, outcome, megabytes = line.decode().split()
                    too_large = int(megabytes) > MEGABYTES
                    yield number, f"{megabytes} MB" if too_large else outcome, int(megabytes)
                    number += 1
                    if not line or too_large:
                        break
            finally:
                worker.kill()


def run(name: str, count: int, options: argparse.Namespace) -> tuple[Counter[str], int]:
    """Runs one target, and keeps the inputs that must not be; returns the number of each outcome and the peak memory."""
    counts: Counter[str] = Counter()
    peak = 0
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    with contextlib.closing(outcomes(name, options.seed)) as found:
        for number, outcome, megabytes in found:
            counts[outcome] += 1
            peak = max(peak, megabytes)
            if outcome not in (READ, REFUSED):
                options.keep.mkdir(parents=True, exist_ok=True)
                path = options.keep / f"{name}-{options.seed}-{number}.bin"
                path.write_bytes(mutant(TARGETS[name], TARGETS[name].seeds(), number, options.seed))
                print(f"{path}: {outcome}", file=sys.stderr)
            if time.monotonic() > end or (not options.minutes and number + 1 >= count):
                break
    return counts, peak


def main() -> int:
    """Runs the command, and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="number of inputs (default: %(default)s)")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), help="what reads them")
    parser.add_argument("--minutes", type=float, help="time for each target, in place of a number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that must not be")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], int(options.worker[1]), options.seed)
    total: Counter[str] = Counter()
    shares = sum(TARGETS[name].share for name in options.targets)
    for name in options.targets:
        begin = time.monotonic()
        counts, peak = run(name, math.ceil(options.inputs * TARGETS[name].share / shares), options)
        listed = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(counts.items()))
        print(
            f"{name:12} {sum(counts.values()):6,} inputs in {time.monotonic() - begin:4.0f} s, {peak} MB: {listed}",
            flush=True,
        )
        total += counts
    faults = sum(count for outcome, count in total.items() if outcome not in (READ, REFUSED))
    print(
        f"{'all':12} {sum(total.values()):6,} inputs: {total[READ]:,} read, {total[REFUSED]:,} refused, {faults} faults"
    )
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
