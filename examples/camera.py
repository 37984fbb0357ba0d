"""Classifies frames of a camera or a video file, and prints an answer whenever it changes.

    python examples/camera.py                  # the first camera, by OpenCV: pip install opencv-python-headless
    python examples/camera.py film.mp4         # a video file, by OpenCV
    python examples/camera.py picamera2        # a Raspberry Pi's camera module: apt install python3-picamera2

Stop it with Ctrl-C.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from fmnist_runtime import Classifier, ConfigError, FmnistError
from fmnist_runtime.console import run_argparse
from fmnist_runtime.options import number_between, whole_number

if TYPE_CHECKING:
    import numpy as np


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of this example."""
    parser = argparse.ArgumentParser(description="Classify frames of a camera or a video file.")
    parser.add_argument(
        "source", nargs="?", default="0", help="number of a camera, a video file or URL, or picamera2 (default: 0)"
    )
    parser.add_argument("--model", help="model file, folder, or embedded model by name (default: improved)")
    parser.add_argument(
        "--interval",
        type=number_between(0, 86_400),
        default=0.5,
        metavar="S",
        help="seconds between two answers (default: 0.5)",
    )
    parser.add_argument("--count", type=whole_number(1), metavar="N", help="stop after N answers (default: never)")
    parser.add_argument("--all", action="store_true", help="print every answer, not only changes")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


def opencv_frames(source: str, interval: float) -> Iterator["np.ndarray"]:
    """Yields frames by OpenCV, uint8 RGB ``[H, W, 3]``, at most one each ``interval`` seconds.

    Of a video file it takes frames by their time in the film. Of a camera or a URL it takes the newest frame: the driver
    buffers some, so all are read and only those that are due are decoded.

    Raises:
        ConfigError: OpenCV is missing, or the source cannot be opened.
        FmnistError: A camera or URL gives no more frames.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("OpenCV is not installed: pip install opencv-python-headless") from error
    is_live = source.isdecimal() or "://" in source
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    try:
        if not capture.isOpened():
            raise ConfigError(f"{source}: no such camera or video file")
        due = 0.0
        while capture.grab():
            now = time.monotonic() if is_live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if now < due:
                continue
            due = now + interval
            complete, frame = capture.retrieve()
            if complete:
                yield frame[..., ::-1].copy()  # OpenCV's order is BGR
        if is_live:
            raise FmnistError(f"{source}: gives no more frames")
    finally:
        capture.release()


def picamera2_frames(interval: float) -> Iterator["np.ndarray"]:
    """Yields frames of a Raspberry Pi's camera module, uint8 RGB ``[H, W, 3]``, one each ``interval`` seconds.

    Raises:
        ConfigError: picamera2 is missing or cannot be loaded, or there is no camera for it.
    """
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise ConfigError("picamera2 is not installed: apt install python3-picamera2") from error
    except ValueError as error:  # its parts are compiled for numpy 1, as on Raspberry Pi OS Bookworm
        raise ConfigError(f"picamera2 cannot be loaded ({error}): pip install 'numpy<2'") from error
    try:
        camera = Picamera2()
    except (IndexError, RuntimeError) as error:
        cause = "no camera is found, or another program uses it"
        raise ConfigError(f"picamera2: {cause} ({error}): rpicam-hello --list-cameras lists them") from error
    # picamera2 names formats by the order in a 24-bit word: BGR888 is R, G, B in memory.
    camera.configure(camera.create_preview_configuration({"size": (640, 480), "format": "BGR888"}))
    camera.start()
    try:
        while True:
            yield camera.capture_array()
            time.sleep(interval)
    finally:
        camera.stop()


def classify_frames(args: Sequence[str] | None) -> None:
    """Prints the answers to the frames of the chosen source.

    Raises:
        FmnistError: The model or the source cannot be used.
    """
    chosen = build_parser().parse_args(args)
    classifier, shown, answers = Classifier.load(chosen.model), "", 0
    pi = chosen.source == "picamera2"
    frames = picamera2_frames(chosen.interval) if pi else opencv_frames(chosen.source, chosen.interval)
    with closing(frames):  # type: ignore[type-var]  # both functions are generators
        for frame in frames:
            prediction = classifier(frame)
            answers += 1
            text = prediction.label or "I don't know"
            if chosen.all or text != shown:
                line = json.dumps(prediction.to_dict()) if chosen.json else f"{text:<14} {prediction.probability:6.1%}"
                print(line, flush=True)
            shown = text
            if answers == chosen.count:
                return


def main(args: list[str] | None = None) -> int:
    """Runs the example, and returns its exit code."""
    return run_argparse(classify_frames, args=args)


if __name__ == "__main__":
    sys.exit(main())
