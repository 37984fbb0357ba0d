"""One contestant in a process of its own: ``convert`` writes its model, and ``serve`` replies to requests on standard input.

Requests and replies are JSON lines.

- ``{"calls": n, "seconds": s, "pause": p, "batch": b}`` calls the model at least n times and for at least s seconds. The
  reply has the ``seconds`` of each call and the ``cpu`` seconds of all.
- ``{"images": path}`` classifies the images of a .npy file. The reply is the list of classes.
- ``{"rss": true}`` replies with the peak memory in bytes.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_bench.backends.registry import Call, Files, resolve
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.streams import keep_stdout

__all__ = ["fixed_images"]


def fixed_images(count: int) -> np.ndarray:
    """Returns smooth random images, uint8 ``[N, 1, 28, 28]``, from a fixed seed; latency does not depend on content."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 1, 7, 7))
    return np.kron(coarse, np.ones((1, 1, 4, 4), int)).astype(np.uint8)


def convert(entry_point: str, files: str, folder: str) -> dict[str, Any]:
    """Returns the ``model`` that the contestant loads and the ``packages`` that it needs."""
    contestant = resolve(entry_point)
    model = contestant.convert(Files(**json.loads(files)), Path(folder))
    return {"model": str(model), "packages": contestant.packages}


def serve(entry_point: str, model: str, threads: str) -> None:
    """Loads the model, classifies one image, replies with both durations, then answers requests until input ends."""
    start = time.perf_counter()
    call = resolve(entry_point).load(Path(model), int(threads))
    loaded = time.perf_counter()
    images = fixed_images(64)
    call(images[:1])
    _reply({"load": loaded - start, "first": time.perf_counter() - loaded})
    for line in sys.stdin:
        request = json.loads(line)
        if "images" in request:
            pixels = np.load(request["images"])
            logits = np.concatenate([call(pixels[i : i + 100]) for i in range(0, len(pixels), 100)])
            if len(logits) != len(pixels):
                raise ValueError(f"{len(logits)} answers to {len(pixels)} images")
            _reply(logits.argmax(axis=1).tolist())
        elif "rss" in request:
            _reply(_peak_rss())
        else:
            _reply(_timed(call, images, **request))


def _timed(
    call: Call, images: np.ndarray, *, calls: int, seconds: float = 0, pause: float = 0, batch: int = 1
) -> dict[str, Any]:
    inputs = [np.resize(np.roll(images, -i, axis=0), (batch, *images.shape[1:])) for i in range(16)]
    times: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    while len(times) < calls or time.perf_counter() - began < seconds:
        pixels = inputs[len(times) % len(inputs)]
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        call(pixels)
        times.append(time.perf_counter() - start)
    return {"seconds": times, "cpu": time.process_time() - cpu}


def _peak_rss() -> int:
    """Returns the peak memory of this process in bytes; 0 where the system does not report it.

    On Linux, VmHWM is read first: the figure of ``getrusage`` starts with the peak of the process that forked this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _reply(value: Any) -> None:
    print(json.dumps(value), file=_replies, flush=True)


_replies = sys.stdout
if __name__ == "__main__":
    keep_stdout()  # a contestant's own lines, which may be JSON, too, go to standard error
    _replies, sys.stdout = sys.stdout, sys.stderr
    try:
        if sys.argv[1] == "convert":
            _reply(convert(*sys.argv[2:]))
        else:
            serve(*sys.argv[2:])
    except ModuleNotFoundError as error:
        _reply({"missing": f"{error.name} is not installed (extra bench)"})
    except FmnistError as error:  # its message is written for the user
        _reply({"missing": str(error)})
    except Exception as error:  # any failure makes this contestant missing, with the reason
        _reply({"missing": f"{type(error).__name__}: {error}".splitlines()[0]})
