"""Load on ``fmnist-serve``: its rate beside the classifier's own, what twice its capacity does, and whether memory is flat.

    python benchmarks/studies/serve_load.py [--seconds 10] [--memory 100000] [--json] [--write]

Needs wrk (Debian's package of that name). Server and client share this machine, so what the client takes the server lacks.
The pictures are 28×28 PNG files, one a request. Overload is offered by as many connections as it takes for more than twice
the capacity measured before, each asking again as soon as it is answered: ``overload_ratio`` says what came of it.
``--write`` puts the figures into ``benchmarks/results/serve_load.json`` and docs/serve.md, if that was at least twice.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from table_text import serve_load
from tables import write_tables

from fmnist_runtime import Classifier
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.serve.app import REFUSAL_SECONDS
from fmnist_train.data.sources import find_dataset
from fmnist_train.files import write_atomically

PICTURES = 500
BATCH = 16
CONNECTIONS = 32
IN_FLIGHT = 64
"""Few, so that the connections that overload takes stay below the service's limit for those."""
MOST_CONNECTIONS = 990
ROOT = Path(__file__).parents[2]
LUA = Path(__file__).with_name("serve_load.lua")


@dataclass(frozen=True)
class Server:
    """A running service."""

    process: "subprocess.Popen[bytes]"
    url: str

    def requests(self) -> dict[str, int]:
        """POST /classify by status, since the start."""
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            text = reply.read().decode()
        found = re.findall(r'fmnist_requests_total\{route="/classify",status="(\d+)"\} (\S+)', text)
        return {status: int(float(count)) for status, count in found}

    def resident_mb(self) -> list[float]:
        """Memory of the process that speaks HTTP and of each worker, MiB; what they share counts for each."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        workers = [pid for task in tasks for pid in task.read_text().split()]
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *workers)]
        return [round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, 1) for status in statuses]


def write_pictures(folder: Path) -> list[bytes]:
    """The pictures as files named by number; also in memory."""
    files = []
    for i, image in enumerate(find_dataset().load("test").images[:PICTURES]):
        file = io.BytesIO()
        Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
        (folder / f"{i:05}.png").write_bytes(file.getvalue())
        files.append(file.getvalue())
    return files


def in_process(files: list[bytes], seconds: float) -> float:
    """Pictures a second of ``Classifier.batch`` in one thread, ``BATCH`` at a time."""
    classifier = Classifier.load()
    classifier.batch(files[:BATCH])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        start = done % PICTURES
        done += len(classifier.batch(files[start : start + BATCH]))
    return done / (time.perf_counter() - started)


@contextmanager
def serving() -> Iterator[Server]:
    """The service with its default settings, and its log thrown away."""
    code = "from fmnist_runtime.serve.cli import main; main()"
    command = [sys.executable, "-c", code, "--port", "0", "--max-in-flight", str(IN_FLIGHT)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        try:
            while not (listening := re.search(rb'"url": "(\S+)"', _read(log))) and process.poll() is None:
                time.sleep(0.05)
            if listening is None:
                raise SystemExit(_read(log).decode())
            yield Server(process, listening[1].decode())
        finally:
            process.terminate()


def _read(file: io.BufferedRandom) -> bytes:
    return Path(f"/proc/self/fd/{file.fileno()}").read_bytes()[:10_000]


def load(server: Server, folder: Path, connections: int, seconds: float) -> dict[str, float]:
    """Drive the service; rates are a second, ``statuses`` are the service's own count."""
    before = server.requests()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "--timeout", "10s", "-s", str(LUA), server.url]
    done = subprocess.run([*command, "--", str(folder), str(PICTURES)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    statuses = {status: n - before.get(status, 0) for status, n in server.requests().items()}
    answered, all_of_them = statuses.get("200", 0), sum(statuses.values())
    elapsed = result["seconds"]
    return {**result, "served": answered / elapsed, "offered": all_of_them / elapsed, "statuses": statuses}


def memory(server: Server, folder: Path, requests: int) -> list[float]:
    """Resident MiB of all processes together, after each tenth of ``requests``."""
    sizes: list[float] = []
    while len(sizes) < 10:
        load(server, folder, CONNECTIONS, 2)
        if sum(server.requests().values()) >= requests * (len(sizes) + 1) / 10:
            sizes.append(round(sum(server.resident_mb()), 1))
    return sizes


def overload_connections(capacity: float) -> int:
    """Connections that offer some 2.5 times the capacity: those that are refused ask again after ``REFUSAL_SECONDS``."""
    return min(MOST_CONNECTIONS, IN_FLIGHT + int(2.5 * capacity * REFUSAL_SECONDS))


def measure(seconds: float, requests: int) -> dict:
    """All figures; memory over so many requests, none for 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_pictures(folder)
        result = {"machine": describe_machine(), "in_process": in_process(files, seconds)}
        with serving() as server:
            load(server, folder, CONNECTIONS, 2)
            result["capacity"] = load(server, folder, CONNECTIONS, seconds)
            connections = overload_connections(result["capacity"]["served"])
            result["overload"] = {"connections": connections, **load(server, folder, connections, seconds)}
            result["overload_ratio"] = result["overload"]["offered"] / result["capacity"]["served"]
            result["processes_mb"] = server.resident_mb()
            if requests:
                result["resident_mb"] = memory(server, folder, requests)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--memory", type=int, default=0, metavar="REQUESTS", help="also watch memory over so many")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the results file and the section in docs/serve.md")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is not installed: apt-get install wrk")
    result = measure(options.seconds, options.memory)
    print(json.dumps(result, indent=2) if options.json else serve_load(result))
    if options.write:
        _write(result)


def _write(result: dict) -> None:
    if result["overload_ratio"] < 2:
        raise SystemExit(
            f"error: only {result['overload_ratio']:.1f} times the capacity was offered; nothing is written"
        )
    write_atomically(ROOT / "benchmarks" / "results" / "serve_load.json", json.dumps(result, indent=2) + "\n")
    write_tables("serve load")


if __name__ == "__main__":
    main()
