"""Many pictures in worker processes: in order, whole whatever dies, and nothing left over."""

import fcntl
import io
import marshal
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.batching.batch import choose_processes
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import FmnistError, ImageError, ModelError
from fmnist_runtime.image_io.sources import expand
from fmnist_runtime.prediction import Answer, Prediction, Top
from fmnist_runtime.workers.pool import WorkerPool, _open_lock_file, classify_in_processes
from fmnist_runtime.workers.process import pack, receive, send, unpack, unpack_error

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")

COMMAND = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
PHOTO = str(next((Path(__file__).parents[3] / "examples").glob("*.jpg")))
OPTIONS = {"top_k": 3, "reject": True}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 300 small pictures, the first, the last and one in the middle damaged."""
    rng = np.random.default_rng(0)
    for i in range(300):
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(tmp_path / f"{i:03}.png")
    for i in (0, 150, 299):
        (tmp_path / f"{i:03}.png").write_bytes(b"no picture")
    return tmp_path


def in_processes(folder: Path, count: int = 3, **load: object) -> Iterator[Answer]:
    return classify_in_processes(expand([folder]), count, load={"path": None, **load}, options=OPTIONS)


def children(process: int | str = "self") -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def wait_until_gone(processes: list[int]) -> None:
    end = time.monotonic() + 60
    while alive := [p for p in processes if Path(f"/proc/{p}").exists()]:
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.05)


def test_the_same_answers_in_the_same_order(pictures: Path) -> None:
    expected = list(Classifier.load().stream([pictures], threads=1))
    assert [a.path for a in expected if a.error] == [str(pictures / f"{i:03}.png") for i in (0, 150, 299)]
    before = children()
    assert list(in_processes(pictures)) == expected
    assert children() == before


def test_the_command_with_workers(pictures: Path, tmp_path: Path) -> None:
    one, many = (
        subprocess.run([*COMMAND, str(pictures), "--json", "--workers", n], capture_output=True) for n in ("1", "3")
    )
    assert one.returncode == many.returncode == 1
    assert one.stdout == many.stdout and one.stdout.count(b"\n") == 300
    assert one.stderr == many.stderr and one.stderr.count(b"\n") == 3


def test_a_model_that_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such"):
        list(in_processes(pictures, path=str(tmp_path / "no such.onnx")))


def test_a_process_that_cannot_start(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_runtime.workers.pool._COMMAND", "raise SystemExit(7)  # {path}")
    with pytest.raises(FmnistError, match="ended with code 7 at its start; --workers 1 uses no worker process"):
        list(in_processes(pictures))
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(FmnistError, match="cannot start"):
        list(in_processes(pictures))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the file of the lock is in memory on Linux only")
def test_no_folder_need_be_writable(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "_get_default_tempdir", lambda *_: pytest.fail("a folder is written"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert len(list(in_processes(pictures))) == 300


@pytest.mark.parametrize("number", [signal.SIGKILL, *([signal.SIGRTMIN + 6] if hasattr(signal, "SIGRTMIN") else [])])
def test_a_process_that_is_killed_is_replaced(number: int, pictures: Path) -> None:
    answers = in_processes(pictures, 2)
    before = children()
    found = [next(answers) for _ in range(100)]
    for victim in set(children()) - set(before):
        os.kill(victim, number)
    found += answers
    assert found == list(Classifier.load().stream([pictures], threads=1))


def test_a_picture_that_kills_is_named_and_no_other_is_lost(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    murder = """
import sys; sys.path[:] = {path}
import os, signal
from fmnist_runtime.image_io import decode
from fmnist_runtime.workers.process import main
read = decode._read
decode._read = lambda source: os.kill(os.getpid(), signal.SIGKILL) if source.endswith("200.png") else read(source)
main()
"""
    monkeypatch.setattr("fmnist_runtime.workers.pool._COMMAND", murder)
    answers = list(in_processes(pictures))
    assert [a.path for a in answers] == [str(pictures / f"{i:03}.png") for i in range(300)]
    assert answers[200].error == "the process that read it was ended by SIGKILL"
    assert [i for i, a in enumerate(answers) if a.error] == [0, 150, 200, 299]


def started(count: int = 3000) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """The command at work on many pictures, after its first answer, and its worker processes."""
    process = subprocess.Popen(
        [*COMMAND, *[PHOTO] * count, "--json", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    assert process.stdout.readline()
    found = children(process.pid)
    assert len(found) == 2
    return process, found


def test_ctrl_c_ends_all(tmp_path: Path) -> None:
    process, found = started()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == b"interrupted\n"
    wait_until_gone(found)


def test_a_reader_that_goes_away_ends_all() -> None:
    process, found = started()
    process.stdout.close()
    assert process.wait(60) == 0 and process.stderr.read() == b""
    process.stderr.close()
    wait_until_gone(found)


def test_workers_do_not_outlive_their_parent() -> None:
    process, found = started()
    process.kill()
    process.communicate()
    wait_until_gone(found)


def test_a_worker_whose_model_never_answers_ends_with_its_input() -> None:
    code = (
        "import threading; from fmnist_runtime.workers import process\n"
        "def load(*arguments, **options): print('loading', flush=True); threading.Event().wait()\n"
        "process._load_classifier = load; process.main()"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    send(worker.stdin, ({}, True, None))
    assert worker.stderr.readline() == b"loading\n"  # a worker's standard output leads to standard error
    worker.stdin.close()
    try:
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.stderr.close()


def test_an_interrupt_ends_processes_that_are_starting() -> None:
    """In a process of its own, because a failure waits forever."""
    code = """
from fmnist_runtime.batching import ordered_map
from fmnist_runtime.workers import pool
pool._COMMAND = "import os, threading; os.write(2, b'started\\\\n'); threading.Event().wait()"
def interrupt(*arguments):
    input()
    raise KeyboardInterrupt
ordered_map._wait = interrupt
with pool.WorkerPool(2, {}) as workers:
    try:
        workers.start()
    except KeyboardInterrupt:
        print([worker._process for worker in workers._all])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert [process.stderr.readline() for _ in range(2)] == [b"started\n"] * 2
    found = children(process.pid)
    assert len(found) == 2
    try:
        assert process.communicate(b"\n", timeout=60) == (b"[None, None]\n", b"")
    finally:
        for each in (process.pid, *found) if process.poll() is None else ():
            os.kill(each, signal.SIGKILL)
    wait_until_gone(found)


@pytest.mark.parametrize("careful", [False, True])
def test_files_bytes_with_options_of_each_request(pictures: Path, careful: bool) -> None:
    files = [path.read_bytes() for path in sorted(pictures.iterdir())[:5]]
    files.append(Path(PHOTO).read_bytes())
    classifier = Classifier.load(careful=careful)
    with WorkerPool(2, {"path": None, "careful": careful}, checked=True) as pool:
        assert pool.start() == list(classifier.labels)
        for options in ({"top_k": 1, "reject": False}, {"top_k": 9, "reject": True, "max_pixels": 28 * 28}):
            outcomes, expected = pool.classify(files, **options), classifier.results(files, **options)
            assert [repr(each) for each in outcomes] == [repr(each) for each in expected]
            assert len(outcomes[1].top) == options["top_k"]
        assert isinstance(outcomes[-1], ImageError) and "over the limit" in str(outcomes[-1])
        assert pool.classify([]) == []


def test_one_alone_is_tried_again(pictures: Path) -> None:
    before = children()
    with WorkerPool(1, {"path": None}) as pool:
        pool.start()
        (victim,) = set(children()) - set(before)
        os.kill(victim, signal.SIGKILL)
        assert isinstance(pool.classify([Path(PHOTO).read_bytes()])[0], Prediction)
    assert children() == before
    with pytest.raises(FmnistError, match="interrupted"):
        pool.classify([b""])


def test_few_pictures_start_no_process(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(names: list[object], requested: int | None) -> int:
        count, sources = choose_processes(expand(names), requested)
        assert list(sources) == list(expand(names))
        return count

    monkeypatch.setattr("fmnist_runtime.batching.batch.available_cpus", lambda: 4)
    assert chosen([pictures], None) == 1
    assert chosen([pictures, pictures], None) == 4
    assert chosen([pictures], 8) == 8 and chosen([pictures, pictures], 1) == 1
    assert chosen([PHOTO, PHOTO], 8) == 2 and chosen([PHOTO], 8) == 1
    monkeypatch.setattr("fmnist_runtime.batching.batch.available_cpus", lambda: 1)
    assert chosen([pictures, pictures], None) == 1


def test_folders_are_searched_once(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    scandir = os.scandir
    monkeypatch.setattr("os.scandir", lambda folder: searched.append(folder) or scandir(folder))
    assert len(list(Classifier.load("nano").stream([pictures, pictures]))) == 600
    assert searched == [str(pictures)] * 2


def test_outcomes_survive_the_way() -> None:
    top = (Top("Bag", 8, 0.1 + 0.2), Top("Coat", 4, 1e-30))
    sent = [
        Prediction("Bag", 8, 0.1 + 0.2, top),
        Prediction(None, None, 0.5, top, rejected=True, reason="unlike"),
    ]
    *same, refusal, fault = unpack(marshal.loads(marshal.dumps(pack([*sent, ImageError("damaged"), KeyError("x\ny")]))))
    assert same == sent
    assert type(refusal) is ImageError and str(refusal) == "damaged"
    assert str(fault) == r"a worker process failed: KeyError: 'x\ny'" and "KeyError" in fault.__notes__[0]


@pytest.mark.parametrize("opened", [_open_lock_file, tempfile.TemporaryFile])
def test_the_lock_for_large_pictures_is_free_once_its_holder_is_dead(opened: Callable[[], IO[bytes]]) -> None:
    code = (
        "import sys; from fmnist_runtime.workers.process import FileLock\n"
        "with FileLock(int(sys.argv[1])): print(flush=True); input()"
    )
    with opened() as file:
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(file.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[file.fileno()],
        )
        assert holder.stdout.readline()
        with pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
        holder.communicate()
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(os.name != "posix", reason="the timer is POSIX's")
@pytest.mark.parametrize(("waits", "code"), [(True, 1), (False, 0)])
def test_a_process_that_waits_for_itself_ends_with_an_error(waits: bool, code: int) -> None:
    """As an import does whose memory runs out; one that computes is left alone, and so is one that is ready."""
    script = (
        "import sys, threading, time; from fmnist_runtime.workers.process import end_if_stuck\n"
        "end_if_stuck(sys.stdout.buffer, 1)\n"
        f"lock = threading.Lock(); lock.acquire(); {waits} and lock.acquire()\n"
        "while time.process_time() < 2: pass\n"
        "end_if_stuck(sys.stdout.buffer, 0); time.sleep(1.5)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    if waits:
        assert "needs more memory" in str(unpack_error(**receive(io.BytesIO(done.stdout))))
