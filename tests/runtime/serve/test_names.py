"""Names of any bytes in responses, metrics and log lines."""

import asyncio
import io
import json
import logging
from pathlib import Path

import httpx
import pytest

from fmnist_runtime.drift.counters import label_text
from fmnist_runtime.drift.counts import read_counts
from fmnist_runtime.prediction import Prediction, Top
from fmnist_runtime.serve.app import Service
from fmnist_runtime.serve.request_log import JsonFormatter, log_event

NAMES = ["a\udcff", 'say "b"\n', "\x1b[31m", "ü", "\u2028"]
"""Labels as they come from folder names: with bytes that are no text, quotes, line breaks, control characters."""


def test_responses_and_metrics_survive_any_label(tmp_path: Path) -> None:
    def classify(pictures: list[bytes], **options: object) -> list[Prediction]:
        return [Prediction(NAMES[p[0]], p[0], 0.9, (Top(NAMES[p[0]], p[0], 0.9),)) for p in pictures]

    service = Service(NAMES, classify)

    async def scene() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.asgi), base_url="http://a") as client:
            for index, name in enumerate(NAMES):
                response = await client.post("/classify", content=bytes([index]))
                assert response.status_code == 200 and response.content.count(b"\n") == 1
                assert json.loads(response.content)["answers"][0]["label"] == name
            assert (await client.get("/openapi.json")).status_code == 200
            (tmp_path / "metrics").write_bytes((await client.get("/metrics")).content)

    asyncio.run(scene())
    service.close()
    assert read_counts(tmp_path / "metrics").labels == {label_text(name): 1 for name in NAMES}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_log_lines_survive_any_name(name: str) -> None:
    sink = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    handler, log = logging.StreamHandler(sink), logging.getLogger("fmnist_runtime.serve")
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        log_event("request", name=name)
        try:
            raise KeyError(name)
        except KeyError:
            log.exception("fault %s", name)
    finally:
        log.removeHandler(handler)
    sink.flush()
    lines = sink.buffer.getvalue().decode().splitlines()
    assert len(lines) == 2 and json.loads(lines[0])["name"] == name
    assert "KeyError" in json.loads(lines[1])["traceback"]
