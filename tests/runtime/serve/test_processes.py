"""The service's worker processes: whatever dies, nothing is lost, and nothing is left over."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from fmnist_runtime.errors import FmnistError
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.serve.batcher import Batcher, RequestOptions, start_pool

TWO = ("--workers", 2)
MARK = b"the end of me"
"""End of a picture's file that makes a process fail."""


def when_marked(what: str) -> str:
    """Code for the service: its workers do ``what`` when they come to a marked picture."""
    worker = f"""
import sys; sys.path[:] = {{path}}
import os, signal
from fmnist_runtime import classifier
from fmnist_runtime.workers import process
prepare = classifier.Classifier.prepare
def prepare_or_not(self, picture, **options):
    if picture.endswith({MARK!r}):
        {what}
    return prepare(self, picture, **options)
classifier.Classifier.prepare = prepare_or_not
process.main()
"""
    return f"from fmnist_runtime.workers import pool; pool._COMMAND = {worker!r}"


def wait_until_gone(processes: list[int]) -> None:
    end = time.monotonic() + 60
    while alive := [process for process in processes if Path(f"/proc/{process}").exists()]:
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.05)


def test_a_killed_worker_loses_nothing(serving, small: bytes, photo: bytes) -> None:
    with serving(*TWO) as running, running.client() as client, ThreadPoolExecutor(8) as threads:
        expected = [client.post("/classify", content=picture).json() for picture in (small, photo)]
        started = set(running.workers())
        jobs = [threads.submit(client.post, "/classify", content=(small, photo)[i % 2]) for i in range(400)]
        while not all(job.done() for job in jobs):
            for victim in started & set(running.workers()):
                with suppress(ProcessLookupError):  # it ended since it was listed
                    os.kill(victim, signal.SIGKILL)
            time.sleep(0.01)
        for i, job in enumerate(jobs):
            assert job.result().status_code == 200 and job.result().json() == expected[i % 2]
        assert len(running.workers()) == 2 and not started & set(running.workers())
    deaths = [e for e in running.events() if "was ended by SIGKILL; another takes its place" in e["event"]]
    assert len(deaths) == 2


def test_workers_that_hang_are_replaced_and_lose_nothing(serving, small: bytes) -> None:
    with serving(*TWO, "--answer-seconds", 15) as running, running.client() as client, ThreadPoolExecutor(4) as threads:
        expected, hung = client.post("/classify", content=small).json(), running.workers()
        for worker in hung:
            os.kill(worker, signal.SIGSTOP)
        responses = [threads.submit(client.post, "/classify", content=small) for _ in range(4)]
        assert [response.result().json() for response in responses] == [expected] * 4
        assert not set(hung) & set(running.workers())
        assert running.metric("fmnist_workers_replaced_total", client) == 2
    assert sum("took longer than 5 s; another takes its place" in e["event"] for e in running.events()) == 2


def test_a_picture_that_hangs_gets_an_error_and_the_others_their_answers(serving, small: bytes) -> None:
    hang = when_marked("import time; time.sleep(1000)")
    with serving(*TWO, "--answer-seconds", 15, code=hang) as running, running.client() as client:
        files = [("f", ("a", small)), ("f", ("b", small + MARK)), ("f", ("c", small))]
        good, bad, same = client.post("/classify", files=files).json()["answers"]
        assert bad["error"] == "the process that read it took longer than 5 s" and good["top"] == same["top"]


def test_no_answer_in_time_is_503_and_so_is_a_stop_in_the_middle(serving, small: bytes) -> None:
    code = "from fmnist_runtime.serve.settings import RequestLimits, Settings; RequestLimits.work_seconds = 1000\n"
    code += "start = Settings.__init__\n"
    code += "Settings.__init__ = lambda self, **options: start(self, **options, grace_seconds=1)\n"
    with serving(*TWO, "--answer-seconds", 1, code=code) as running, running.client() as client:
        for worker in running.workers():
            os.kill(worker, signal.SIGSTOP)
        late = client.post("/classify", content=small)
        assert late.status_code == 503 and late.headers["retry-after"] == "1" and "within 1 s" in late.json()["error"]
    with serving(*TWO, code=code) as running, running.client() as client, ThreadPoolExecutor(1) as threads:
        for worker in running.workers():
            os.kill(worker, signal.SIGSTOP)
        response = threads.submit(client.post, "/classify", content=small)
        while not running.metric("fmnist_in_flight", client):
            time.sleep(0.01)
        running.process.terminate()
        cut = response.result()
        assert cut.status_code == 503 and cut.headers["retry-after"] == "1" and "stops" in cut.json()["error"]
        assert running.process.wait(30) == 0
    assert "Traceback" not in running.log.read_text()
    (event,) = [e for e in running.events() if e.get("route") == "/classify"]
    assert event["status"] == 503


def test_a_client_that_leaves_leaves_nothing_behind(serving, small: bytes) -> None:
    with serving(*TWO) as running, running.client() as client:
        workers = running.workers()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        head = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(small)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                connection.sendall(head + small)
                while not running.metric("fmnist_in_flight", client):
                    time.sleep(0.01)
            while running.metric("fmnist_in_flight", client):
                time.sleep(0.01)
        held = ("fmnist_held_bytes", "fmnist_pictures_in_flight")
        assert [running.metric(name, client) for name in held] == [0, 0]
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        assert client.post("/classify", content=small).status_code == 200
        assert running.workers() == workers
    assert [e["status"] for e in running.events() if e.get("route") == "/classify"] == [400, 400, 400, 200]


def test_an_idle_worker_that_was_killed_is_not_the_next_picture_s_fault(serving, small: bytes) -> None:
    with serving(*TWO) as running, running.client() as client:
        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
        assert [client.post("/classify", content=small).status_code for _ in range(4)] == [200] * 4


def test_a_picture_that_kills_gets_an_error_and_the_others_their_answers(serving, small: bytes) -> None:
    murder = when_marked("os.kill(os.getpid(), signal.SIGKILL)")
    with serving(*TWO, code=murder) as running, running.client() as client:
        files = [("f", ("a", small)), ("f", ("b", small + MARK)), ("f", ("c", small))]
        good, bad, same = client.post("/classify", files=files).json()["answers"]
        assert bad["error"] == "the process that read it was ended by SIGKILL"
        assert good["top"] and good["top"] == same["top"]
        response = client.post("/classify", content=small + MARK)
        assert response.status_code == 422 and response.json() == {"error": bad["error"]}
        assert client.post("/classify", content=small).status_code == 200


def test_a_fault_in_a_worker_is_a_fault_and_its_traceback_is_logged(serving, small: bytes) -> None:
    with serving(*TWO, code=when_marked("raise KeyError('ours')")) as running, running.client() as client:
        workers = running.workers()
        response = client.post("/classify", content=small + MARK)
        assert response.status_code == 500 and response.json() == {"error": "internal error"}
        assert client.post("/classify", content=small).status_code == 200
        assert running.workers() == workers
        assert running.metric("fmnist_faults_total", client) == 1
        assert running.metric("fmnist_unreadable_total", client) == 0
    (fault,) = [event for event in running.events() if event["event"] == "fault"]
    assert "a worker process failed: KeyError: 'ours'" in fault["traceback"] and "prepare_or_not" in fault["traceback"]


def test_too_little_memory_for_a_picture_is_reported(serving, small: bytes) -> None:
    with serving(*TWO, code=when_marked("raise MemoryError")) as running, running.client() as client:
        response = client.post("/classify", content=small + MARK)
        assert response.status_code == 422 and "more memory than is available" in response.json()["error"]


def test_the_self_test_is_replayed_in_the_workers() -> None:
    worker = """
import sys; sys.path[:] = {path}
from fmnist_runtime import selftest
from fmnist_runtime.workers import process
true = selftest.unpack_golden
selftest.unpack_golden = lambda *a: (g := true(*a)).__class__(g.images[::-1], g.logits, g.tolerance)
process.main()
"""
    code = f"from fmnist_runtime.workers import pool; pool._COMMAND = {worker!r}\n"
    code += "from fmnist_runtime.serve.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--port", "0", "--workers", "2"], capture_output=True, timeout=60
    )
    assert done.returncode == 1 and done.stderr.startswith(b"error: ") and b": the self-test failed" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_worker_that_is_replaced_takes_no_other_model(serving, tmp_path: Path, small: bytes) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(find_model(), model)
    with serving(*TWO, "--model", model) as running, running.client() as client:
        shutil.copy(find_model("nano"), model)
        assert client.post("/classify", content=small).status_code == 200
        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
        assert client.post("/classify", content=small).status_code == 503
    reasons = [event["event"] for event in running.events() if "cannot be started: " in event["event"]]
    assert reasons and all("this is another file" in reason for reason in reasons)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_service(serving, small: bytes, number: signal.Signals) -> None:
    with serving(*TWO) as running, running.client() as client:
        assert client.post("/classify", content=small).status_code == 200
        workers = running.workers()
        running.process.send_signal(number)
        assert running.process.wait(30) == (-number if number == signal.SIGKILL else 0)
    assert len(workers) == 2
    wait_until_gone(workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_a_service_whose_self_test_never_ends(workers: int, number: signal.Signals) -> None:
    """The self-test waits as a call of onnxruntime does: a handler of Python cannot run in its thread."""
    lock = "ctypes.CDLL(None).pthread_mutex_lock(mutex)"
    self_test = f"mutex = ctypes.create_string_buffer(64); os.write(2, b'started\\n'); {lock}; {lock}"
    patch = (
        f"import ctypes, os\nfrom fmnist_runtime import selftest\ndef wait(classifier):\n    {self_test}\n"
        "selftest.require_selftest = wait\n"
    )
    worker = f"import sys; sys.path[:] = {{path}}\n{patch}\nfrom fmnist_runtime.workers.process import main; main()"
    code = (
        f"{patch}from fmnist_runtime.workers import pool; pool._COMMAND = {worker!r}\n"
        "from fmnist_runtime.serve.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--port", "0", "--workers", str(workers)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    assert [process.stderr.readline() for _ in range(workers)] == [b"started\n"] * workers
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    found = [int(child) for task in tasks for child in task.read_text().split()]
    process.send_signal(number)
    try:
        assert process.communicate(timeout=60)[1] == b"interrupted\n" and process.returncode == 130
        wait_until_gone(found)
    finally:
        for each in (process.pid, *found) if process.poll() is None else ():
            os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_line_that_it_listens_ends_it_with_code_0(serving, number: signal.Signals) -> None:
    code = f"""
import signal
from fmnist_runtime.serve import server
log = server.log_event
def log_and_signal(event, *arguments, **fields):
    log(event, *arguments, **fields)
    if event == "listening":
        signal.raise_signal({int(number)})
server.log_event = log_and_signal
"""
    with serving("--workers", 1, code=code) as running:
        assert running.process.wait(60) == 0
    assert [event["event"] for event in running.events()] == ["listening", "draining", "stopped"]


def test_pictures_that_nobody_waits_for_are_dropped() -> None:
    go, begun = threading.Event(), []

    def work(pictures: Sequence[bytes], **options: object) -> list:
        begun.extend(pictures)
        assert go.wait(30)
        return list(pictures)

    async def scene() -> None:
        batcher, kind = Batcher(work, 1), RequestOptions(1, True, 5)
        first, left, last = (asyncio.create_task(batcher.classify([name] * 2, kind)) for name in (b"a", b"b", b"c"))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        go.set()
        assert [await first, await last] == [[b"a"] * 2, [b"c"] * 2]
        batcher.close()

    asyncio.run(scene())
    assert begun == [b"a", b"a", b"c", b"c"]


def test_a_batch_holds_one_kind_of_request_and_no_more_than_it_should() -> None:
    calls: list[tuple[int, int, dict]] = []

    def work(pictures: Sequence[bytes], **options: object) -> list:
        calls.append((len(pictures), sum(map(len, pictures)), options))
        return [len(picture) for picture in pictures]

    async def scene() -> None:
        batcher = Batcher(work, 1)
        one, two = RequestOptions(1, True, 5), RequestOptions(3, False, 5)
        asked = [([b"a"], one), ([b"a"] * 20, one), ([b"b"], two), ([bytes(1 << 20)] * 2, one), ([b"c"], two)]
        answers = await asyncio.gather(*(batcher.classify(pictures, options) for pictures, options in asked))
        assert answers == [[len(picture) for picture in pictures] for pictures, _ in asked]
        batcher.close()

    asyncio.run(scene())
    assert [count for count, _, _ in calls] == [1, 16, 4, 1, 1, 1, 1]
    assert [options["top_k"] for _, _, options in calls] == [1, 1, 1, 3, 1, 1, 3]
    assert calls[0][2] == {"top_k": 1, "reject": True, "max_pixels": 5}


@pytest.mark.parametrize("granted", [0, 1, 2, 3])
def test_an_executor_has_the_threads_that_the_system_grants(granted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[threading.Thread] = []
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        alive[:] = [each for each in alive if each.is_alive()]
        if len(alive) == granted:
            raise RuntimeError("can't start new thread")
        alive.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    if not granted:
        with pytest.raises(FmnistError, match="cannot start a thread"):
            start_pool(2, "test")
        return
    pool, threads = start_pool(2, "test")
    assert threads == min(granted, 2) and len(alive) >= threads
    assert [pool.submit(abs, -1).result(30) for _ in range(5)] == [1] * 5
    pool.shutdown()


@pytest.mark.parametrize("bad", [b"no model", None], ids=["damaged", "removed"])
def test_a_model_file_that_became_bad_is_a_503_until_it_is_good_again(serving, small: bytes, tmp_path, bad) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(find_model(), model)
    good = model.read_bytes()
    with serving(*TWO, "--model", model) as running, running.client() as client:
        expected = client.post("/classify", content=small).json()
        model.unlink()
        if bad is not None:
            model.write_bytes(bad)
        for worker in running.workers():
            os.kill(worker, signal.SIGKILL)
        for _ in range(4):
            refused = client.post("/classify", content=small)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            assert refused.text.count("\n") == 1 and "no worker process can be started" in refused.json()["error"]
        not_ready = client.get("/readyz")
        assert not_ready.status_code == 503 and not_ready.json() == refused.json()
        assert client.get("/healthz").status_code == 200
        model.write_bytes(good)
        end = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert client.post("/classify", content=small).json() == expected
    reasons = [e["event"] for e in running.events() if "cannot be started: " in e["event"]]
    assert len(reasons) == 2 and all(str(model) in reason for reason in reasons)
    assert "Traceback" not in running.log.read_text()


def test_a_worker_that_cannot_start_again_leaves_the_work_to_the_others(serving, small: bytes, tmp_path) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(find_model(), model)
    with serving(*TWO, "--model", model) as running, running.client() as client:
        model.unlink()
        os.kill(running.workers()[0], signal.SIGKILL)
        codes = [client.post("/classify", content=small).status_code for _ in range(6)]
        assert codes.count(503) <= 1 and codes[-1] == 200 and client.get("/readyz").status_code == 200
