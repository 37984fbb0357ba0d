"""The library: loads one model file and classifies images with it."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from fmnist_runtime.errors import ConfigError, ImageError, ModelError, clear_frames
from fmnist_runtime.image_io.decode import Picture, is_picture, open_image
from fmnist_runtime.model_file.integrity import verify_checksum, verify_structure
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.session import (
    OUTPUTS,
    PROVIDERS,
    check_signature,
    first_line,
    metadata_props,
    open_session,
    require_thread_range,
)
from fmnist_runtime.model_file.store import find_model, prefix_model_errors, read_model
from fmnist_runtime.prediction import Answer, Prediction, PredictionOrError, Top
from fmnist_runtime.preprocessing.pipeline import careful_inputs, to_network_input
from fmnist_runtime.reject import RejectRule
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["PROVIDERS", "Classifier", "OnInput", "Picture"]

OnInput = Callable[[Picture, Image.Image, np.ndarray], None]
"""Callback for each image of a batch: the caller's ``Picture``, the decoded image, the network input uint8 ``[28, 28]``."""


_MOST_PROBABLE = 1.001
"""Largest probability: 1 and the rounding of any processor."""


class Classifier:
    """One loaded model.

    Thread-safe: no attribute changes after ``load``, and onnxruntime allows parallel calls.

    Attributes:
        labels: Class names; the position is the class id.
        metadata: Metadata of the model file.
        careful: Whether four views of each image are averaged.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        metadata: Metadata,
        *,
        careful: bool = False,
        large_lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._session = session
        self._large_lock = large_lock
        self._origin = ""  # path of the file and a colon, the beginning of error messages
        self._reject = RejectRule.from_metadata(metadata.reject)
        self.metadata = metadata
        self.labels = metadata.labels
        self.careful = careful

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        threads: int = 1,
        provider: str = "cpu",
        sha256: str | None = None,
        careful: bool = False,
        large_lock: AbstractContextManager[Any] | None = None,
    ) -> "Classifier":
        """Reads, verifies and loads a model.

        Args:
            path: A model file, a folder that holds one, or the name of an embedded model; None: the embedded default.
            threads: Threads of one model call, 1 to 256. Waiting threads sleep.
            provider: A key of ``PROVIDERS``. An unavailable provider is an error; no other one replaces it.
            sha256: Required SHA-256 of the file, 64 hexadecimal digits; None accepts any file.
            careful: Averages four views: the image, its mirror image, and both a little smaller. Slower; rejects more
                images without a garment.
            large_lock: See ``open_image``.

        Raises:
            ModelError: The file does not exist, is damaged, was not written by this project, has a newer metadata schema
                than this runtime reads, or has another signature.
            ConfigError: An unknown or unavailable provider, or a number of threads outside 1 to 256.
        """
        file = find_model(path)
        data = read_model(file, sha256)
        with prefix_model_errors(file):
            classifier = cls.from_bytes(
                data, threads=threads, provider=provider, careful=careful, large_lock=large_lock
            )
        classifier._origin = f"{file}: "
        return classifier

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        *,
        threads: int = 1,
        provider: str = "cpu",
        careful: bool = False,
        large_lock: AbstractContextManager[Any] | None = None,
    ) -> "Classifier":
        """Verifies and loads the contents of a model file; arguments and errors as for ``load``."""
        if not isinstance(data, bytes):  # onnxruntime takes nothing else
            data = memoryview(data).tobytes()
        verify_structure(data)
        verify_checksum(data)
        session = open_session(data, threads=threads, provider=provider)
        metadata = Metadata.from_props(metadata_props(session))
        check_signature(session, len(metadata.labels))
        return cls(session, metadata, careful=careful, large_lock=large_lock)

    def __call__(self, picture: Picture, *, top_k: int = 3, reject: bool = True) -> Prediction:
        """Classifies one image.

        Args:
            picture: See ``Picture``.
            top_k: Number of most probable classes to return, from 1.
            reject: Whether an image unlike the model's classes may be rejected ("I don't know").

        Returns:
            The prediction; its probabilities are calibrated, 0..1.

        Raises:
            ImageError: The image cannot be read.
            ModelError: The model call failed.
        """
        (result,) = self.results([picture], top_k=top_k, reject=reject)
        if isinstance(result, Exception):
            raise result
        return result

    def batch(self, pictures: Iterable[Picture], *, top_k: int = 3, reject: bool = True) -> list[Prediction]:
        """Classifies several images in one model call; see ``__call__``. ``stream`` returns errors as values instead.

        Raises:
            ImageError: An image cannot be read; the message contains its position and path.
            ModelError: The model call failed.
        """
        pictures = list(_require_many(pictures))
        results = self.results(pictures, top_k=top_k, reject=reject)
        predictions = []
        for position, result in enumerate(results):
            if isinstance(result, ImageError):
                raise ImageError(f"{_name(pictures[position], position)}: {result}") from result
            if isinstance(result, Exception):
                raise result
            predictions.append(result)
        return predictions

    def stream(
        self, pictures: Iterable[Picture], *, top_k: int = 3, reject: bool = True, threads: int | None = None
    ) -> Iterator[Answer]:
        """Classifies any number of images, in their order; an unreadable image becomes an ``Answer`` with an error.

        Args:
            pictures: See ``Picture``. A folder stands for all images below it; hidden names are left out, and their
                number is logged as a warning. At most two chunks of 8 images for each thread are read ahead, so an array or
                image must stay unchanged until its answer: an iterator that fills one array again gives copies.
            top_k: See ``__call__``.
            reject: See ``__call__``.
            threads: Images decoded and classified at the same time, 1 to 256; None: one for each CPU of this process.

        Raises:
            ConfigError: ``top_k`` or ``threads`` is out of range.
            ModelError: A model call failed.
        """
        from fmnist_runtime.batching.batch import classify_sources
        from fmnist_runtime.image_io.sources import expand

        _require_from_1(top_k)
        if threads is not None:
            require_thread_range(threads)
        classify = partial(self.results, top_k=top_k, reject=reject)
        return classify_sources(classify, expand(_require_many(pictures), report=True), threads=threads)

    def results(
        self,
        pictures: Sequence[Picture],
        *,
        top_k: int = 3,
        reject: bool = True,
        max_pixels: int | None = None,
        on_input: OnInput | None = None,
    ) -> list[PredictionOrError]:
        """Classifies several images in one model call, and returns one result for each.

        The result of an image that cannot be prepared is the exception, not raised.

        Args:
            pictures: See ``Picture``.
            top_k: See ``__call__``.
            reject: See ``__call__``.
            max_pixels: See ``open_image``.
            on_input: See ``OnInput``.

        Raises:
            ConfigError: ``top_k`` is below 1.
            ModelError: The model call failed.
        """
        inputs: list[np.ndarray | Exception] = []
        outside = sys.exception()
        for picture in pictures:
            try:
                inputs.append(self.prepare(picture, max_pixels=max_pixels, on_input=on_input))
            except MemoryError:
                inputs.append(ImageError("the picture needs more memory than is available"))
            except Exception as error:  # a defect triggered by one image must not affect the others
                # Without the pixels that its functions had, and without this function.
                clear_frames(error, outside)
                inputs.append(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        prepared = [each for each in inputs if isinstance(each, np.ndarray)]
        predictions = iter(self.classify_inputs(np.stack(prepared), top_k=top_k, reject=reject) if prepared else [])
        return [next(predictions) if isinstance(each, np.ndarray) else each for each in inputs]

    def prepare(
        self, picture: Picture, *, max_pixels: int | None = None, on_input: OnInput | None = None
    ) -> np.ndarray:
        """Returns the network inputs of an image, uint8 ``[views, 28, 28]``: one view, or four with ``careful``.

        Args:
            picture: See ``Picture``.
            max_pixels: See ``open_image``.
            on_input: See ``OnInput``.

        Raises:
            ImageError: The image cannot be read.
        """
        image = open_image(picture, max_pixels=max_pixels, large_lock=self._large_lock)
        views = careful_inputs(image) if self.careful else to_network_input(image)[None]
        if on_input:
            on_input(picture, image, views[0])
        return views

    def classify_inputs(self, inputs: np.ndarray, *, top_k: int = 3, reject: bool = True) -> list[Prediction]:
        """Classifies the network inputs of N images; returns N predictions.

        Args:
            inputs: Stacked results of ``prepare``, uint8 ``[N, views, 28, 28]``. Logits and probabilities are averaged
                over the views.
            top_k: See ``__call__``.
            reject: See ``__call__``.

        Raises:
            ConfigError: ``top_k`` is below 1.
            ModelError: The model call failed, or its results are no numbers.
        """
        _require_from_1(top_k)
        count, views = inputs.shape[:2]
        logits, probabilities = self.run(inputs.reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE))
        if views > 1:  # for a single view, the mean would add a tenth of the time of the model call
            logits, probabilities = (each.reshape(count, views, -1).mean(axis=1) for each in (logits, probabilities))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        best = probabilities[np.arange(count)[:, None], order].tolist()
        # NaN is in no range, and infinite logits give it. Floats of Python are compared, which takes a tenth of numpy's time.
        if not all(0 <= probability <= _MOST_PROBABLE for row in best for probability in row):
            raise ModelError(
                f"{self._origin}the model computes no numbers, or no probabilities from 0 to 1; export it again"
            )
        reasons = self._reject.reasons(inputs, logits, probabilities) if reject and self._reject else [None] * count
        return [self._prediction(*each) for each in zip(order.tolist(), best, reasons, strict=True)]

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calls the model on uint8 ``[N, 1, 28, 28]``; returns logits and probabilities, each float32 ``[N, classes]``.

        Raises:
            ModelError: The call failed, or the shape of an output is not ``[N, number of labels]``.
        """
        try:
            logits, probabilities = self._session.run(OUTPUTS, {"image": pixels})
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise ModelError(f"{self._origin}onnxruntime cannot run the model: {first_line(error)}") from error
        expected = (len(pixels), len(self.labels))
        if not (logits.shape == probabilities.shape == expected):
            raise ModelError(
                f"{self._origin}the model's output has shape {list(probabilities.shape)}, expected {list(expected)}; "
                "export it again"
            )
        return logits, probabilities

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Returns only the logits, float32 ``[N, classes]``; see ``run``."""
        return self.run(pixels)[0]

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, by their names in onnxruntime."""
        return list(self._session.get_providers())

    def _prediction(self, order: list[int], best: list[float], reason: str | None) -> Prediction:
        top = tuple([Top(self.labels[i], i, probability) for i, probability in zip(order, best, strict=True)])
        if reason is not None:
            return Prediction(None, None, top[0].probability, top, rejected=True, reason=reason)
        return Prediction(top[0].label, top[0].class_id, top[0].probability, top)


def _require_many(pictures: Iterable[Picture]) -> Iterable[Picture]:
    """Returns the argument unchanged.

    Raises:
        ImageError: The argument is a single picture; see ``is_picture``.
    """
    if is_picture(pictures):
        raise ImageError("a list of pictures is needed here; for one picture, call the classifier itself")
    return pictures


def _require_from_1(top_k: int) -> None:
    if top_k < 1:
        raise ConfigError(f"top_k must be 1 or more, not {top_k}")


def _name(picture: Picture, position: int) -> str:
    with suppress(Exception):  # a path-like object may be of any class of the caller
        if isinstance(picture, str | os.PathLike):
            return f"[{position}] {os.fsdecode(picture)}"
    return f"[{position}]"
