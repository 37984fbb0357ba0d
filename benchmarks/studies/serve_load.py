"""Load test of ``fmnist-serve``: throughput beside the classifier's own, overload of twice the capacity, and memory.

    python benchmarks/studies/serve_load.py [--seconds 10] [--memory 100000] [--json] [--write]

Needs wrk (Debian's package of that name). Server and client share this machine, so the client takes time from the server.
Each request has one PNG file of 28×28. Overload comes from enough connections to offer more than twice the capacity, each of
which sends its next request after each reply; ``overload_ratio`` is the rate that they reached. ``--write`` writes the figures
to ``benchmarks/results/serve_load.json`` and docs/serve.md, if that ratio is at least 2.
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
from typing import Any

from PIL import Image
from table_text import serve_load
from tables import write_tables

from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.serve.app import REFUSAL_SECONDS
from fmnist_train.data.sources import find_dataset

PICTURES = 500
"""Different images, sent in rotation."""
BATCH = 16
"""Images in a call of the in-process baseline: the service's usual batch."""
CONNECTIONS = 32
"""Connections at capacity: enough to fill batches, below ``IN_FLIGHT``."""
IN_FLIGHT = 64
"""The service's ``--max-in-flight``: low, so that overload needs fewer connections than the service allows."""
MOST_CONNECTIONS = 990
"""Upper limit of connections at overload, below the service's limit of 1,000."""
ROOT = Path(__file__).parents[2]
LUA = Path(__file__).with_name("serve_load.lua")


@dataclass(frozen=True)
class Server:
    """A running service."""

    process: "subprocess.Popen[bytes]"
    url: str

    def requests(self) -> dict[str, int]:
        """Returns the number of POST /classify requests since the start, by status."""
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            text = reply.read().decode()
        found = re.findall(r'fmnist_requests_total\{route="/classify",status="(\d+)"\} (\S+)', text)
        return {status: int(float(count)) for status, count in found}

    def resident_mb(self) -> list[float]:
        """Returns the resident memory of the HTTP process and of each worker in MiB; shared pages count for each."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        workers = [pid for task in tasks for pid in task.read_text().split()]
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *workers)]
        return [round(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024, 1) for status in statuses]


def write_pictures(folder: Path) -> list[bytes]:
    """Writes the images as files named by number, and returns their bytes."""
    files = []
    for i, image in enumerate(find_dataset().load("test").images[:PICTURES]):
        file = io.BytesIO()
        Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
        (folder / f"{i:05}.png").write_bytes(file.getvalue())
        files.append(file.getvalue())
    return files


def in_process(files: list[bytes], seconds: float) -> float:
    """Returns images a second of ``Classifier.batch`` in one thread, ``BATCH`` at a time."""
    classifier = Classifier.load()
    classifier.batch(files[:BATCH])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        start = done % PICTURES
        done += len(classifier.batch(files[start : start + BATCH]))
    return done / (time.perf_counter() - started)


@contextmanager
def serving() -> Iterator[Server]:
    """Yields a running service with ``IN_FLIGHT`` as its only setting."""
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
    """Sends requests with wrk; returns rates a second, latencies, and ``statuses`` as the service counts them."""
    before = server.requests()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "--timeout", "10s", "-s", str(LUA), server.url]
    done = subprocess.run([*command, "--", str(folder), str(PICTURES)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    statuses = {status: n - before.get(status, 0) for status, n in server.requests().items()}
    served, total = statuses.get("200", 0), sum(statuses.values())
    elapsed = result["seconds"]
    return {**result, "served": served / elapsed, "offered": total / elapsed, "statuses": statuses}


def memory(server: Server, folder: Path, requests: int) -> list[float]:
    """Returns the resident MiB of all processes together, after each tenth of ``requests``."""
    sizes: list[float] = []
    while len(sizes) < 10:
        load(server, folder, CONNECTIONS, 2)
        if sum(server.requests().values()) >= requests * (len(sizes) + 1) / 10:
            sizes.append(round(sum(server.resident_mb()), 1))
    return sizes


def overload_connections(capacity: float) -> int:
    """Returns the connections that offer about 2.5 times the capacity; a refused one waits ``REFUSAL_SECONDS``."""
    return min(MOST_CONNECTIONS, IN_FLIGHT + int(2.5 * capacity * REFUSAL_SECONDS))


def measure(seconds: float, requests: int) -> dict[str, Any]:
    """Returns all figures; those of memory over that many requests, or none for 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_pictures(folder)
        result: dict[str, Any] = {"machine": describe_machine(), "in_process": in_process(files, seconds)}
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
    parser.add_argument("--memory", type=int, default=0, metavar="REQUESTS", help="also measure memory over that many")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the results file and the section in docs/serve.md")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is not installed: apt-get install wrk")
    result = measure(options.seconds, options.memory)
    print(json.dumps(result, indent=2) if options.json else serve_load(result))
    if options.write:
        _write(result)


def _write(result: dict[str, Any]) -> None:
    if result["overload_ratio"] < 2:
        raise SystemExit(
            f"error: only {result['overload_ratio']:.1f} times the capacity was offered; nothing is written"
        )
    write_atomically(ROOT / "benchmarks" / "results" / "serve_load.json", json.dumps(result, indent=2) + "\n")
    write_tables("serve load")


if __name__ == "__main__":
    main()
