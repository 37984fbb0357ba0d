"""Devices with few threads or little memory: a result or one clear line, in bounded time."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
SHIPPED = Path(__file__).parents[3] / "artifacts"
INFER = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
SERVE = [sys.executable, "-c", "from fmnist_runtime.serve.cli import main; main()"]
FEW_THREADS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
static int left = -1;
struct call { void *(*start)(void *); void *argument; };
static void *run(void *given) {
    struct call call = *(struct call *)given;
    free(given);
    void *result = call.start(call.argument);
    __atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
    return result;
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) {
        real = dlsym(RTLD_NEXT, "pthread_create");
        left = atoi(getenv("THREADS_LEFT"));
    }
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) < 0) {
        __atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
        return EAGAIN;
    }
    struct call *call = malloc(sizeof *call);
    *call = (struct call){start, argument};
    return real(thread, attributes, run, call);
}
"""


@pytest.fixture(scope="module")
def few_threads(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library to preload, whose ``pthread_create`` fails as at a container's limit of ``THREADS_LEFT`` further threads."""
    folder = tmp_path_factory.mktemp("preload")
    (folder / "few.c").write_text(FEW_THREADS)
    library = folder / "few.so"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "few.c", "-ldl"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a C compiler")
    return str(library)


def run(command: list[str], library: str, left: int, *arguments: object) -> "subprocess.CompletedProcess[str]":
    variables = {"LD_PRELOAD": library, "THREADS_LEFT": str(left), "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=variables)


@pytest.mark.parametrize("left", [0, 1])
def test_many_pictures_with_fewer_threads_than_cpus(few_threads: str, left: int) -> None:
    done = run(INFER, few_threads, left, EXAMPLES, "--json")
    assert done.returncode == 0, done.stderr
    names = [Path(json.loads(line)["path"]).name for line in done.stdout.splitlines()]
    assert names == sorted(path.name for path in EXAMPLES.glob("*.jpg"))


@pytest.mark.parametrize("left", [0, 1, 2])
def test_threads_of_a_call_that_the_system_does_not_grant(few_threads: str, left: int) -> None:
    done = run(INFER, few_threads, left, EXAMPLES / "shirt.jpg", "--json", "--threads", 4)
    assert done.returncode == 1 and done.stdout == ""
    line = re.fullmatch(r"error: the system grants (\d) of 4 threads; use one: --threads 1\n", done.stderr)
    # On some processors, onnxruntime starts a thread of its own before.
    assert line and left <= int(line[1]) <= left + 1, done.stderr


def test_worker_processes_without_threads(few_threads: str) -> None:
    done = run(INFER, few_threads, 0, EXAMPLES, "--json", "--workers", 2)
    assert done.returncode == 0 and done.stdout.count("\n") == len(list(EXAMPLES.glob("*.jpg")))
    refused = run(SERVE, few_threads, 0, "--workers", 2, "--port", 0)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "cannot start a thread" in refused.stderr


@pytest.mark.parametrize("left", [0, 1])
def test_a_service_without_threads_ends_in_one_line(few_threads: str, left: int) -> None:
    """It needs one for images and one for forms; later it would answer 500 to every request."""
    done = run(SERVE, few_threads, left, "--workers", 1, "--port", 0, "--model", "nano")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: cannot start a thread: the system's limit on processes or memory is reached\n"


DRIFT = [sys.executable, "-c", "from fmnist_runtime.drift.cli import main; main()"]
EXPORT = [sys.executable, "-m", "fmnist_export"]


def test_a_comparison_of_answers_needs_no_thread(few_threads: str, tmp_path: Path) -> None:
    """Numpy's linear algebra would print lines of its own, and interrupt the process."""
    (tmp_path / "answers").write_text(run(INFER, few_threads, 0, EXAMPLES, "--json").stdout)
    done = run(DRIFT, few_threads, 0, tmp_path / "answers", tmp_path / "answers")
    assert done.returncode == 0 and "as before" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("left", [0, 3])
def test_an_export_with_few_threads_takes_one_or_ends_in_one_line(few_threads: str, left: int, tmp_path: Path) -> None:
    """Those that its libraries ask for are counted before they are imported."""
    pytest.importorskip("torch", reason="needs the extra `export`")
    loose = ("--max-drop", 1, "--min-agreement", 0.9, "--max-latency-ratio", 0)
    options = ("--quantize", "--data", "sample", *loose, "--output", tmp_path / "out")
    done = run(EXPORT, few_threads, left, SHIPPED / "nano", *options)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr and "interrupted" not in done.stderr, done.stderr
    if done.returncode:
        assert errors == ["error: cannot start a thread: the system's limit on processes or memory is reached"]
    assert (done.returncode == 0) == (tmp_path / "out" / "model.int8.onnx").exists() == (left > 0)


def limited(megabytes: int, *arguments: object, command: list[str] = INFER) -> "subprocess.CompletedProcess[str]":
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    whole = [*command, *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=60, preexec_fn=limit)


def test_400_megabytes_of_address_space_are_enough() -> None:
    done = limited(400, EXAMPLES / "shirt.jpg", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["top"] and done.stderr == ""


@pytest.mark.parametrize("megabytes", [120, 90, 50, 40])
def test_less_than_the_libraries_need_is_one_line(megabytes: int) -> None:
    done = limited(megabytes, EXAMPLES / "shirt.jpg", "--json")
    assert done.returncode != 0 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("megabytes", range(130, 220, 10))
def test_too_little_memory_for_a_photo_is_one_line_of_ours(megabytes: int) -> None:
    """OpenBLAS takes its memory at the first photo, and ends the process where there is none."""
    done = limited(megabytes, EXAMPLES / "shirt.jpg", "--json")
    assert done.returncode == 0 or done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("megabytes", [98, 90])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_and_workers_without_memory_are_one_line(megabytes: int, workers: int) -> None:
    """Worker processes load the libraries themselves."""
    photo = EXAMPLES / "shirt.jpg"
    ends = [limited(megabytes, "--port", 0, "--workers", workers, "--model", "none", command=SERVE)]
    ends += [limited(megabytes, "--port", 0, "--workers", workers, "--host", "192.0.2.1", command=SERVE)]
    ends += [limited(megabytes, photo, photo, photo, "--workers", workers)]
    for done in ends:
        assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
        # OpenBLAS prints lines of its own, as it does for some processors when its buffers cannot be had.
        ours = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "fmnist-"))]
        assert len(ours) <= 1, done.stderr


def test_an_error_of_python_itself_in_a_worker_without_memory_is_one_line() -> None:
    """Python has such an error where memory runs out while it handles a lack of memory."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from fmnist_runtime.workers import process\n"
        "def fail(*_): raise SystemError('error return without exception set')\n"
        "process._serve = fail; process.main()"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as worker:  # its input stays open
        answer, message = (pipe.read() for pipe in (worker.stdout, worker.stderr) if pipe is not None)
    assert worker.returncode == 0 and message == b""
    assert b"a worker process needs more memory than is available" in answer


def test_what_libraries_print_is_not_among_the_answers() -> None:
    code = (
        "import os; from fmnist_runtime import classifier; find = classifier.find_model\n"
        "classifier.find_model = lambda path: os.write(1, b'noise of a library') and find(path)\n"
        "from fmnist_runtime.cli.infer import main; main()"
    )
    command = [sys.executable, "-c", code, str(EXAMPLES / "shirt.jpg"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout)["top"] and done.stderr == "noise of a library"
