"""Load on ``fmnist-serve``: its rate beside the classifier's own, what twice its capacity does, and whether memory is flat.

    python benchmarks/serve_load.py [--seconds 10] [--memory 100000] [--json]

Needs wrk (Debian's package of that name). Server and client share this machine, so what the client takes the server lacks.
The pictures are 28×28 PNG files, one a request. Overload is as many connections as twice the requests in flight allowed,
each asking again as soon as it is answered: see ``offered``, in multiples of the capacity measured before.
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

from fmnist_runtime import Classifier
from fmnist_runtime.bench.machine import describe_machine
from fmnist_train.data import find_dataset

PICTURES = 500
BATCH = 16
CONNECTIONS = 32
IN_FLIGHT = 256
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

    def resident_mb(self) -> float:
        """Memory of the process and of its workers, MiB; what they share counts for each."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        workers = [pid for task in tasks for pid in task.read_text().split()]
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *workers)]
        return sum(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) for status in statuses) / 1024


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
    """Resident MiB after each tenth of ``requests``."""
    sizes: list[float] = []
    while len(sizes) < 10:
        load(server, folder, CONNECTIONS, 2)
        if sum(server.requests().values()) >= requests * (len(sizes) + 1) / 10:
            sizes.append(round(server.resident_mb(), 1))
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--memory", type=int, default=0, metavar="REQUESTS", help="also watch memory over so many")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_pictures(folder)
        result = {"machine": describe_machine(), "in_process": in_process(files, options.seconds)}
        with serving() as server:
            load(server, folder, CONNECTIONS, 2)
            result["capacity"] = load(server, folder, CONNECTIONS, options.seconds)
            result["overload"] = load(server, folder, 2 * IN_FLIGHT, options.seconds)
            if options.memory:
                result["resident_mb"] = memory(server, folder, options.memory)
    print(json.dumps(result, indent=2) if options.json else _table(result))


def _table(result: dict) -> str:
    own, capacity, overload = result["in_process"], result["capacity"], result["overload"]
    lines = [
        f"{result['machine']['processor']}, {result['machine']['cpus_allowed']} CPUs, client on the same machine",
        f"classifier.batch, in process, one thread  {own:8.0f} pictures/s",
        f"fmnist-serve, {CONNECTIONS} connections             {capacity['served']:8.0f} requests/s  "
        f"({capacity['served'] / own:.2f} of it), p50 {capacity['p50_ms']:.0f} ms, p99 {capacity['p99_ms']:.0f} ms",
        f"overload, {2 * IN_FLIGHT} connections                {overload['served']:8.0f} requests/s served of "
        f"{overload['offered']:.0f} offered ({overload['offered'] / capacity['served']:.1f} times the capacity)",
        f"statuses {capacity['statuses']} and {overload['statuses']}, "
        f"socket errors {capacity['socket_errors']} and {overload['socket_errors']}",
    ]
    if "resident_mb" in result:
        lines.append(f"resident MiB on the way: {result['resident_mb']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
