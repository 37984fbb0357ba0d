"""Requests made up by a machine, and many of them: no fault, no leak."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmnist_runtime import Classifier

BURST = 200
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize("token", [False, True])
def test_schemathesis_finds_nothing(serving, tmp_path: Path, token: bool) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    secret = "0123456789abcdef"
    (tmp_path / "token").write_text(secret)
    with serving(*(("--token-file", tmp_path / "token") if token else ())) as running:
        url = f"http://127.0.0.1:{running.port}/openapi.json"
        fixed = ["--max-examples", "15", "--seed", "1"]
        more = ["-H", f"Authorization: Bearer {secret}"] if token else []
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", url, *fixed, *more]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        with running.client(headers={"authorization": f"Bearer {secret}"}) as client:
            assert running.metric("fmnist_requests_total", client) > 100
            assert running.metric('fmnist_requests_total{route="/classify",status="500"}', client) == 0
    assert not [event for event in running.events() if event["event"] == "fault"]


def test_memory_files_and_room_stay_as_they_were(service, small: bytes, photo: bytes) -> None:
    """A bounded version of ``benchmarks/studies/serve_load.py --memory 100000``, with every way to misbehave mixed in."""
    form = {"content-type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\n' + photo
    with service.client() as client:

        def burst() -> tuple[float, float]:
            for i in range(BURST):
                client.post("/classify", content=photo if i % 10 == 0 else small)
                client.post("/classify", content=small[:100])
                client.post("/classify", content=cut, headers=form)
                with socket.create_connection(("127.0.0.1", service.port)) as connection:
                    connection.sendall(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n" + photo)
            return service.resident_mb(), service.metric("process_open_fds", client)

        burst()
        first, second = burst(), burst()
        assert second[0] - first[0] < 4, "MiB grown in 800 requests"
        assert abs(second[1] - first[1]) <= 5
        until = time.monotonic() + 10  # the last connections were cut; the service detects it a moment later
        while service.metric("fmnist_held_bytes", client) and time.monotonic() < until:
            time.sleep(0.05)
        assert service.metric("fmnist_held_bytes", client) == service.metric("fmnist_in_flight", client) == 0
    assert not [event for event in service.events() if event["event"] == "fault"]


def test_nothing_of_the_service_is_loaded_by_the_runtime() -> None:
    code = (
        "import sys, fmnist_runtime.cli.infer, fmnist_runtime.classifier; print([m for m in sys.modules if m in "
        + repr(["starlette", "uvicorn", "prometheus_client", "ray", "fmnist_runtime.serve", "fmnist_runtime.drift"])
    )
    done = subprocess.run([sys.executable, "-c", code + "])"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and Classifier.load().labels
