"""One contestant in a process of its own, told over standard input what to measure; answers JSON lines.

Requests: ``{"calls": n, "pause": seconds}`` gives the seconds of each call; ``{"answers": n}`` gives the classes of the
first n fixed images; ``{"rss": true}`` gives the peak memory in bytes.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["CONTESTANTS", "fixed_images", "serve"]


def fixed_images(count: int) -> np.ndarray:
    """Smooth random pictures, uint8 ``[N, 1, 28, 28]``, the same everywhere: garment or not makes no difference to time."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 1, 7, 7))
    return np.kron(coarse, np.ones((1, 1, 4, 4), int)).astype(np.uint8)


def _onnxruntime(path: str) -> Callable[[np.ndarray], np.ndarray]:
    from fmnist_runtime.classifier import Classifier

    return Classifier.load(path).logits


def _pytorch(path: str) -> Callable[[np.ndarray], np.ndarray]:
    # By name: the runtime must not depend on these, it only measures them where they are.
    torch: Any = importlib.import_module("torch")
    model = importlib.import_module("fmnist_train.checkpoint").load_checkpoint(path).model
    torch.set_num_threads(1)

    def call(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(pixels)).numpy()

    return call


CONTESTANTS = {"onnxruntime": _onnxruntime, "pytorch": _pytorch}


def serve(kind: str, path: str) -> None:
    """Load the contestant, say how long loading and the first call took, then answer requests until input ends."""
    start = time.perf_counter()
    try:
        call = CONTESTANTS[kind](path)
        loaded = time.perf_counter()
        images = fixed_images(64)
        call(images[:1])
    except Exception as error:  # whatever it is, the parent shows this contestant as missing, with the reason
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}), flush=True)
        return
    print(json.dumps({"load": loaded - start, "first": time.perf_counter() - loaded}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "answers" in request:
            reply: Any = call(images[: request["answers"]]).argmax(axis=1).tolist()
        elif "rss" in request:
            reply = _peak_rss()
        else:
            reply = _timed(call, images, request["calls"], request["pause"])
        print(json.dumps(reply), flush=True)


def _timed(call: Callable[[np.ndarray], np.ndarray], images: np.ndarray, calls: int, pause: float) -> list[float]:
    seconds = []
    for i in range(calls):
        image = images[i % len(images)][None]
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        call(image)
        seconds.append(time.perf_counter() - start)
    return seconds


def _peak_rss() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    serve(*sys.argv[1:3])
