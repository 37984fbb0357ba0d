"""What the service refuses, and how: each limit with its status code, and nothing left behind."""

import asyncio
import contextlib
import io
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from fmnist_runtime import Classifier
from fmnist_runtime.image_io.limits import refuse_too_much
from fmnist_runtime.prediction import PredictionOrError
from fmnist_runtime.serve.app import Service
from fmnist_runtime.serve.multipart import read_files
from fmnist_runtime.serve.settings import RequestLimits, Settings


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


FORM = {"content-type": "multipart/form-data; boundary=x"}
IMPATIENT = "import fmnist_runtime.serve.protocol as p; p.HEAD_SECONDS = p.LINGER_SECONDS = p.SEND_SECONDS = 0.5"


@pytest.fixture(scope="module")
def strict(serving) -> Iterator:
    """A service that refuses early."""
    limits = ("--max-body", 1, "--max-files", 2, "--max-pixels", 1, "--body-seconds", 1)
    with serving(*limits, "--workers", 2, code=IMPATIENT) as running:
        yield running


def form(*files: tuple[str, bytes]) -> bytes:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n' % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--x--\r\n"


def talk(port: int, data: bytes, *, close: bool = False) -> bytes:
    """Send bytes as they are, perhaps hang up, and read until the service closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_an_offered_upgrade_is_ignored(strict, small: bytes) -> None:
    """As of Java's ``HttpClient`` and ``curl --http2``; the body and the next request may come in the same segment."""
    head = b"/classify HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %b\r\n"
    size = b"Content-Length: %d\r\n\r\n" % len(small)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(small), small)
    posts = [b"POST " + head % name + body for name in (b"h2c", b"websocket") for body in (size + small, chunked)]
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    answers = talk(strict.port, b"".join(posts) + last)
    assert answers.count(b"HTTP/1.1 200") == answers.count(b"HTTP/1.1") == 5
    assert answers.count(b'"answers"') == 4
    with socket.create_connection(("127.0.0.1", strict.port), timeout=20) as client:
        for part in (posts[0][: -len(small)], small):  # in two segments
            client.sendall(part)
            time.sleep(0.2)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert not [event for event in strict.events() if event["level"] == "warning"]


LARGE = b"Content-Length: %d\r\n" % (1 << 30)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + LARGE, 413),
        (b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n" + LARGE, 413),
        (b"POST /classify HTTP/1.0\r\n" + LARGE, 413),
        (b"POST /nowhere HTTP/1.0\r\nHost: a\r\n" + LARGE, 404),
        (b"POST /classify HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (1 << 17) + b"\r\n" + LARGE, 431),
        (b"POST /classify HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + LARGE, 431),
        (b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 1a\r\n", 400),
    ],
    ids=["close", "expect", "1.0", "path", "long", "lines", "invalid"],
)
def test_a_refusal_reaches_a_client_that_still_sends(service, head: bytes, status: int) -> None:
    """Proxies ask for ``Connection: close`` by default, and make 502 of a reset."""
    for _ in range(3):
        assert talk(service.port, head + b"\r\n" + bytes(8 << 20)).startswith(b"HTTP/1.1 %d " % status)
    with service.client() as client:
        assert client.get("/healthz").status_code == 200
    assert not [event for event in service.events() if event["level"] == "error"]


@pytest.mark.parametrize("pause", [0.1, None])
def test_empty_lines_keep_no_connection_open(strict, pause: float | None) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while b"alive" not in answer:  # head and body may come apart
            answer += client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            for _ in range(200 if pause else 1):
                client.sendall(b"\r\n")
                if select.select([client], [], [], pause or 20)[0]:
                    break
            assert client.recv(1000) == b""


def test_what_follows_a_request_does_not_take_its_answer(strict, small: bytes) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    post = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(small), small)
    lines = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n"
    for requests, rest, status in ((get, b"nonsense\r\n\r\n", 400), (post, b"abc", 400), (get + post, lines, 431)):
        answers = talk(strict.port, requests + rest).split(b"HTTP/1.1 ")[1:]
        assert [int(answer[:3]) for answer in answers] == [200] * requests.count(b"HTTP/1.1") + [status]
    assert talk(strict.port, b"abc" + get).startswith(b"HTTP/1.1 400")


def test_a_response_leaves_the_time_of_the_next_body(serving, small: bytes) -> None:
    """Also where the head of the next request came with the one before."""
    with (
        serving(code=IMPATIENT) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as client,
    ):
        head = b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(small)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + head + small[:10])
        time.sleep(1.5)  # more than LINGER_SECONDS
        client.sendall(small[10:])
        answers = b""
        while part := client.recv(65536):
            answers += part
    assert answers.count(b"HTTP/1.1 200 OK") == 2


def test_the_log_has_no_lines_of_the_server_library(strict) -> None:
    heads = [b"CONNECT /healthz", b"CONNECT a:443", b"nonsense"]
    offers = [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"]
    before = len(strict.events())
    for head in heads:
        for offer in offers:
            request = head + b" HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n"
            assert talk(strict.port, request, close=True).startswith(b"HTTP/1.1 40")
    with strict.client() as client:
        assert client.get("/healthz").status_code == 200
    assert {event["event"] for event in strict.events()[before:]} == {"request"}


def test_each_limit_has_its_status(strict, small: bytes) -> None:
    wide = png(np.zeros((1000, 1001), np.uint8))
    requests = [
        (413, {"content": bytes((1 << 20) + 1)}),
        (413, {"content": iter([bytes(1 << 19)] * 3)}),  # chunked: no length is stated
        (413, {"files": [("f", (f"{i}.png", small)) for i in range(3)]}),
        (415, {"data": {"a": "b"}}),
        (415, {"json": {}}),
        (422, {"content": wide}),
        (422, {"content": b"no picture"}),
        (422, {"content": b""}),
        (422, {"content": small[:200]}),
        (422, {"content": b"", "headers": {"content-type": "multipart/form-data"}}),
        (422, {"content": b"--x--", "headers": FORM}),
        (422, {"content": form(("", b"")), "headers": FORM}),
        (422, {"content": form(("a.png", small))[:-4], "headers": FORM}),
        (200, {"content": form(("a.png", small), ("b.png", b"junk")), "headers": FORM}),
    ]
    with strict.client() as client:
        for status, request in requests:
            response = client.post("/classify", **request)
            assert response.status_code == status, (request.keys(), response.text)
            assert status == 200 or set(response.json()) == {"error"}
        assert "--max-pixels" in client.post("/classify", content=wide).json()["error"]
        assert client.get("/classify").status_code == 405
        assert client.get("/nowhere").status_code == 404


@pytest.mark.parametrize("size", [(8160, 6120), (8192, 6144)])
def test_photos_of_50_megapixels_pass_by_default(size: tuple[int, int]) -> None:
    refuse_too_much(Image.frombytes("1", (8, 8), bytes(8)).resize(size), RequestLimits().pixels)


def test_a_form_cut_anywhere_is_refused(small: bytes) -> None:
    body = form(("a.png", small), ("b.png", b"--x and \r\n--y"))
    files = read_files(FORM["content-type"], body, 2)
    assert [(f.name, f.data) for f in files] == [("a.png", small), ("b.png", b"--x and \r\n--y")]
    for cut in range(len(body) - 2):  # the line break after the closing boundary may be missing
        with pytest.raises(HTTPException) as refusal:
            read_files(FORM["content-type"], body[:cut], 2)
        assert refusal.value.status_code == 422


def test_a_form_with_thousands_of_parts_is_refused_early() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 5000 + b"--x--"
    with pytest.raises(HTTPException) as refusal:
        read_files(FORM["content-type"], body, 32)
    assert refusal.value.status_code == 413


def test_slow_truncated_and_lying_clients(strict, small: bytes) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    answers = {
        b"408": [(head % 100 + b"abc", False)],  # the rest never comes
        b"413": [(head % (1 << 40) + b"abc", False)],  # nor here, but it is refused at once
        b"400": [
            (b"no HTTP at all\r\n\r\n", False),
            (head.replace(b"%d", b"-5"), False),
            (head.replace(b"%d", b"12abc"), False),
            (head % 10 + b"GET / HTTP/1.1\r\n\r\n", False),  # a length that is too short: rubbish follows
        ],
        b"": [
            (b"POST /classify HTTP/1.1\r\nHost:", False),  # the head never ends
            (b"", False),
            (head % 100 + b"abc", True),  # hangs up
        ],
    }
    for status, requests in answers.items():
        for data, close in requests:
            answer = talk(strict.port, data, close=close)
            assert b"500" not in answer.splitlines()[:1] and status in answer, (data, answer)
    assert b"fault" not in strict.log.read_bytes()
    with strict.client() as client:
        assert client.post("/classify", content=small).status_code == 200
        assert strict.metric("fmnist_held_bytes", client) == strict.metric("fmnist_in_flight", client) == 0
        assert strict.metric('fmnist_requests_total{route="/classify",status="500"}', client) == 0


def in_process(settings: Settings, go: threading.Event | None = None) -> Service:
    """A service without processes of its own, whose answers wait until they are let go."""
    classifier = Classifier.load()

    def work(pictures: list[bytes], **options: object) -> list[PredictionOrError]:
        assert go is None or go.wait(30)
        return classifier.results(pictures, **options)

    return Service(classifier.labels, work, settings)


CHUNKED = b"POST /classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_of_tiny_chunks_is_refused(service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(CHUNKED + b"1\r\na\r\n" * 110_000 + b"0\r\n\r\n")  # with the end of a body that would be read
        assert client.recv(1000).startswith(b"HTTP/1.1 413")
    with service.client() as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("line", [b"X: " + b"a" * 6_000 + b"\r\n", b"A:\r\n"], ids=["long", "short"])
@pytest.mark.parametrize("start", [b"GET /healthz HTTP/1.1\r\nHost: a\r\n", CHUNKED + b"1\r\na\r\n0\r\n"])
def test_a_head_without_end_is_refused(service, small: bytes, start: bytes, line: bytes) -> None:
    """Long before its time is over: a fast client would otherwise fill the memory. So are trailers."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(start)
        sent = 0
        while sent < 8 << 20 and not select.select([client], [], [], 0)[0]:
            client.sendall(line)
            sent += len(line)
        assert sent < 8 << 20 and client.recv(1000).startswith(b"HTTP/1.1 431")
    with service.client() as client:
        assert client.get("/healthz", headers={"X": "a" * 50_000}).status_code == 200
        assert client.get("/healthz", headers={f"X{number}": "a" for number in range(90)}).status_code == 200
        assert client.get("/healthz", headers={f"X{number}": "a" for number in range(101)}).status_code == 431
        for _ in range(3):  # bodies are no part of a head
            assert client.post("/classify", content=small + bytes(3 << 20)).status_code == 200


def test_a_client_that_does_not_read_is_disconnected(strict) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(20)
        client.connect(("127.0.0.1", strict.port))
        client.sendall(b"GET /model.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        time.sleep(2)
        received = 0  # what the system had buffered
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.recv(1 << 20):
                received += len(chunk)
    with strict.client() as client:
        assert received < 25 * len(client.get("/model.bin").content)
    assert not [event for event in strict.events() if event["level"] == "error"], "not a fault of the service"


def test_too_much_at_once_is_refused_and_the_rest_is_served(small: bytes) -> None:
    go = threading.Event()
    limits = RequestLimits(in_flight=2, body_bytes=10_000, held_bytes=10_000)
    service = in_process(Settings(limits=limits), go)

    async def scene() -> None:
        transport = httpx.ASGITransport(service.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://a", timeout=30) as client:
            served = [asyncio.create_task(client.post("/classify", content=small)) for _ in range(2)]
            while service._capacity.in_flight < 2:
                await asyncio.sleep(0.001)
            refused = await client.post("/classify", content=small)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200  # the event loop is free all along
            go.set()
            assert [response.status_code for response in await asyncio.gather(*served)] == [200, 200]
            assert (await client.post("/classify", content=small)).status_code == 200
        assert service._capacity.in_flight == service._capacity.held_bytes == 0

    asyncio.run(scene())


def test_more_pictures_than_allowed_are_refused(small: bytes) -> None:
    go = threading.Event()
    service = in_process(Settings(limits=RequestLimits(files=2, pictures=3)), go)

    async def scene() -> None:
        transport = httpx.ASGITransport(service.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://a", timeout=30) as client:
            two = {"content": form(("a.png", small), ("b.png", small)), "headers": FORM}
            served = [asyncio.create_task(client.post("/classify", **two))]
            while service._capacity.pictures < 2:
                await asyncio.sleep(0.001)
            refused = await client.post("/classify", **two)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            served.append(asyncio.create_task(client.post("/classify", content=small)))
            while service._capacity.pictures < 3:
                await asyncio.sleep(0.001)
            go.set()
            assert [response.status_code for response in await asyncio.gather(*served)] == [200, 200]
        assert service._capacity.in_flight == service._capacity.pictures == service._capacity.held_bytes == 0

    asyncio.run(scene())


def test_one_connection_too_many_is_refused_and_counted(serving, small: bytes) -> None:
    code = "from fmnist_runtime.serve import settings; fixed = settings.RequestLimits.__init__\n"
    code += "settings.RequestLimits.__init__ = lambda self, **options: fixed(self, **options, connections=2)\n"
    with serving("--workers", 1, code=code) as running, running.client() as one, running.client() as two:
        assert one.get("/healthz").status_code == two.get("/healthz").status_code == 200
        with running.client() as three:
            refused = three.post("/classify", content=small)
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close" and "connections" in refused.json()["error"]
        assert one.post("/classify", content=small).status_code == 200
        assert running.metric('fmnist_requests_total{route="/classify",status="503"}', two) == 1


def test_a_form_without_a_picture_says_what_is_wrong_with_each_file(strict, small: bytes) -> None:
    with strict.client() as client:
        response = client.post("/classify", content=form(("a.png", small[:200]), ("b.txt", b"junk")), headers=FORM)
    assert response.status_code == 422
    first, second = response.json()["error"].split("; b.txt: ")
    assert first.startswith("a.png: ") and "not a picture" in second


def test_bodies_together_take_no_more_memory_than_allowed(small: bytes) -> None:
    service = in_process(Settings(limits=RequestLimits(body_bytes=5000, held_bytes=6000)))
    half_sent, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> "asyncio.AsyncIterator[bytes]":
        yield bytes(4000)
        half_sent.set()
        await go_on.wait()

    async def scene() -> None:
        transport = httpx.ASGITransport(service.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            first = asyncio.create_task(client.post("/classify", content=slow()))
            await half_sent.wait()
            while not service._capacity.held_bytes:
                await asyncio.sleep(0.001)
            assert (await client.post("/classify", content=bytes(3000))).status_code == 503
            assert (await client.post("/classify", content=small)).status_code == 200
            go_on.set()
            assert (await first).status_code == 422
        assert service._capacity.held_bytes == 0

    asyncio.run(scene())


def test_it_drains(serving, small: bytes) -> None:
    with serving("--drain-seconds", 1, "--workers", 2) as running, running.client() as client:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as slow:
            head = "POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
            slow.sendall((head % len(small)).encode() + small[:50])
            assert client.get("/readyz").status_code == 200
            workers = running.workers()
            for process in (running.process.pid, *workers):  # as systemd does by default
                os.kill(process, signal.SIGTERM)
            while client.get("/readyz").status_code == 200:
                time.sleep(0.01)
            assert client.get("/readyz").json() == {"error": "draining"}
            assert client.post("/classify", content=small).status_code == 200
            while True:  # wait for it to stop listening; the request that had begun is still in flight
                try:
                    socket.create_connection(("127.0.0.1", running.port), timeout=5).close()
                except ConnectionRefusedError:
                    break
                time.sleep(0.01)
            slow.sendall(small[50:])
            answer = b""
            while chunk := slow.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 200") and len(json.loads(answer.partition(b"\r\n\r\n")[2])["answers"]) == 1
        assert running.process.wait(20) == 0
        assert len(workers) == 2 and not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
        assert [e["event"] for e in running.events() if e["event"] != "request"] == ["listening", "draining", "stopped"]
