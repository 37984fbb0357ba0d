"""A service in a process of its own, as in production."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the service needs the extra `serve`")

EXAMPLE = Path(__file__).parents[3] / "examples" / "trouser.jpg"


@dataclass
class Running:
    """A running service; its log goes to a file."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, **options)

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def workers(self) -> list[int]:
        """The processes that classify."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def resident_mb(self) -> float:
        """Memory of all processes together, MiB."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *self.workers())]
        return sum(int(re.search(r"VmRSS:\s+(\d+) kB", each)[1]) for each in status) / 1024

    def metric(self, name: str, client: httpx.Client) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


Serving = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Start ``fmnist-serve`` with the arguments given; ``code`` runs before it, in its process."""

    @contextmanager
    def start(*arguments: object, code: str = "") -> Iterator[Running]:
        log = tmp_path_factory.mktemp("serve") / "log"
        code += "\nfrom fmnist_runtime.serve.cli import main; main()"
        command = [sys.executable, "-c", code, "--port", "0", *map(str, arguments)]
        with log.open("wb") as sink, subprocess.Popen(command, stderr=sink) as process:
            try:
                yield Running(process, _port(log, process), log)
            finally:
                process.terminate()
                process.wait(30)

    return start


@pytest.fixture(scope="module")
def service(serving: Serving) -> Iterator[Running]:
    """One service with its default settings, and as many workers wherever the tests run."""
    with serving("--workers", 2) as running:
        yield running


@pytest.fixture
def photo() -> bytes:
    """An example photo's file."""
    return EXAMPLE.read_bytes()


@pytest.fixture(scope="session")
def small() -> bytes:
    """A 28×28 PNG."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def _port(log: Path, process: "subprocess.Popen[bytes]") -> int:
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["url"].rpartition(":")[2])
    raise AssertionError(f"the service did not start: {log.read_text()}")
