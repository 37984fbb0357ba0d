"""The steps of the Dockerfile without a Docker engine, and the dashboard beside the metrics of the service."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text("utf-8"))
MONITORING = ROOT / "docs" / "monitoring"


def last(instruction: str) -> list[str]:
    """Returns the JSON form of the last ``CMD`` of a kind in the Dockerfile."""
    found: list[str] = json.loads(re.findall(rf"^{instruction}.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    return found


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from no other files than those that the Dockerfile copies, unpacked."""
    source, dist, site = (tmp_path_factory.mktemp(name) for name in ("source", "dist", "site"))
    stage = DOCKERFILE.partition("\nFROM python")[0]
    for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *names, target = line.split()
        for name in names:
            path = source / (name if target == "./" else target)
            path.parent.mkdir(parents=True, exist_ok=True)
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, path, ignore=skip) if (ROOT / name).is_dir() else shutil.copy(
                ROOT / name, path
            )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = dist.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def port(unpacked: Path) -> Iterator[int]:
    """The image's command from the unpacked wheel, on a free port, once its health check passes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    program, *arguments = [str(number) if word == "8000" else word for word in last("CMD")]
    assert program == "fmnist-serve"
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); from fmnist_runtime.serve.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while health(number):
            assert process.poll() is None and time.monotonic() < deadline, "the health check does not pass"
            time.sleep(0.2)
        yield number
    finally:
        process.terminate()
        assert process.wait(45) == 0


def health(port: int) -> int:
    """Returns the exit code of the image's health check, for another port."""
    program, *arguments = last("HEALTHCHECK")
    assert program == "python"
    command = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in arguments)]
    proxies = {"http_proxy": "http://127.0.0.1:9"}  # Docker copies those of its client into containers
    return subprocess.run(command, capture_output=True, env={**os.environ, **proxies}).returncode


def test_the_image_classifies_and_counts_what_the_dashboard_shows(port: int) -> None:
    photo = (ROOT / "examples" / "trouser.jpg").read_bytes()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/classify", photo, {"Content-Type": "image/jpeg"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["answers"][0]["top"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        counted = set(re.findall(r"^(\w+)", answer.read().decode(), re.MULTILINE))
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    expressions = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    shown = set(re.findall(r"\b(?:fmnist|process)_\w+", expressions))
    assert len(shown) >= 10 and shown <= counted


def test_the_image_runs_as_nobody_and_holds_no_training() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", final, re.MULTILINE)
    assert "[serve]" in final and not re.search(r"\b(train|export|test)\b", final)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        assert all(f"!{name}" in ignored for name in line.split()[:-1])


def test_the_compose_file_mounts_what_exists_and_opens_nothing_to_others() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source
    assert services["fmnist"]["read_only"] and services["fmnist"]["cap_drop"] == ["ALL"]


def test_prometheus_and_grafana_name_each_other() -> None:
    scrape = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    assert scrape["static_configs"][0]["targets"] == ["fmnist:8000"]
    (source,) = yaml.safe_load((MONITORING / "datasource.yml").read_text("utf-8"))["datasources"]
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
