"""The library: load one model file, ask it about pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from fmnist_runtime.batching.cpus import MOST_THREADS
from fmnist_runtime.errors import ConfigError, ImageError, ModelError
from fmnist_runtime.model_file.integrity import refuse_external_data, verify_checksum
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.prediction import Prediction, Top
from fmnist_runtime.preprocessing.pipeline import careful_inputs, to_network_input
from fmnist_runtime.reject import RejectRule
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["PROVIDERS", "Classifier", "Picture"]

Picture = Image.Image | np.ndarray | str | Path | bytes
"""A Pillow image; uint8 ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``; a path; or a file's bytes."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""onnxruntime's execution providers by the names that ``--provider`` takes."""

_INPUT = ("image", "tensor(uint8)", ["N", 1, IMAGE_SIZE, IMAGE_SIZE])
_OUTPUTS = ("logits", "probabilities")


class Classifier:
    """One loaded model. Thread-safe: nothing changes after ``load``, and onnxruntime's ``run`` may be called at once."""

    def __init__(self, session: onnxruntime.InferenceSession, metadata: Metadata, *, careful: bool = False) -> None:
        self._session = session
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
    ) -> "Classifier":
        """Read, verify and load a model.

        Args:
            path: a file, a folder that holds one, or the name of an embedded model; None for the embedded default.
            threads: of one call, 1 to 256. They never spin while they wait.
            provider: a key of ``PROVIDERS``; it is used or refused, never replaced.
            sha256: refuse any file but the one with this hash.
            careful: average over the picture, its mirror image, and both a little smaller; slower, and refuses more of
                what is no garment.

        Raises:
            ModelError: no such file, damaged, not ours, newer than this runtime, or of another signature.
            ConfigError: a provider that is not known or not there, or a number of threads outside 1 to 256.
        """
        if not 1 <= threads <= MOST_THREADS:
            raise ConfigError(f"threads must be 1 to {MOST_THREADS}, not {threads}")
        data = read_model(find_model(path), sha256)
        refuse_external_data(data)
        verify_checksum(data)
        session = _session(data, threads, _provider(provider))
        metadata = Metadata.from_props(session.get_modelmeta().custom_metadata_map)
        _check_signature(session, metadata)
        return cls(session, metadata, careful=careful)

    def __call__(self, picture: Picture, *, top_k: int = 3, reject: bool = True) -> Prediction:
        """Classify one picture.

        Args:
            picture: see ``Picture``.
            top_k: how many of the most probable classes to name, from 1.
            reject: whether a picture unlike all that the model knows may be answered with "I don't know".

        Raises:
            ImageError: the picture cannot be read.
        """
        return self.batch([picture], top_k=top_k, reject=reject)[0]

    def batch(self, pictures: Sequence[Picture], *, top_k: int = 3, reject: bool = True) -> list[Prediction]:
        """Classify several pictures in one call of the model; as ``__call__`` otherwise."""
        views = [self.prepare(picture) for picture in pictures]
        return self.classify_inputs(np.stack(views), top_k=top_k, reject=reject) if views else []

    def prepare(self, picture: Picture, *, max_pixels: int | None = None) -> np.ndarray:
        """What the network sees of a picture: uint8 ``[views, 28, 28]``; one view, or several where ``careful``.

        Args:
            picture: see ``Picture``.
            max_pixels: see ``open_image``.

        Raises:
            ImageError: the picture cannot be read.
        """
        image = _as_image(picture, max_pixels)
        return careful_inputs(image) if self.careful else to_network_input(image)[None]

    def classify_inputs(self, inputs: np.ndarray, *, top_k: int = 3, reject: bool = True) -> list[Prediction]:
        """Classify what ``prepare`` returned, stacked: uint8 ``[N, views, 28, 28]``."""
        count, views = inputs.shape[:2]
        logits, probabilities = self.run(inputs.reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE))
        logits = logits.reshape(count, views, -1).mean(axis=1)
        probabilities = probabilities.reshape(count, views, -1).mean(axis=1)
        reasons = self._reject.reasons(inputs, logits, probabilities) if reject and self._reject else [None] * count
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top_k)]
        best = np.take_along_axis(probabilities, order, axis=1)
        return [self._prediction(*each) for each in zip(order.tolist(), best.tolist(), reasons, strict=True)]

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bare model call: uint8 ``[N, 1, 28, 28]`` to logits and probabilities, each float32 ``[N, classes]``.

        Raises:
            ModelError: the model does not compute what it says, or other pixels than these were given.
        """
        try:
            logits, probabilities = self._session.run(_OUTPUTS, {"image": pixels})
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise ModelError(f"onnxruntime cannot run the model: {_first_line(error)}") from error
        expected = (len(pixels), len(self.labels))
        if not (logits.shape == probabilities.shape == expected):
            raise ModelError(
                f"the model answered {list(probabilities.shape)} and not {list(expected)}; export it again"
            )
        return logits, probabilities

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """The logits alone, float32 ``[N, classes]``."""
        return self.run(pixels)[0]

    @property
    def providers(self) -> list[str]:
        """The execution providers that are in use."""
        return self._session.get_providers()

    def _prediction(self, order: list[int], best: list[float], reason: str | None) -> Prediction:
        top = tuple([Top(self.labels[i], i, probability) for i, probability in zip(order, best, strict=True)])
        if reason is not None:
            return Prediction(None, None, top[0].probability, top, rejected=True, reason=reason)
        return Prediction(top[0].label, top[0].class_id, top[0].probability, top)


def _as_image(picture: Picture, max_pixels: int | None) -> Image.Image:
    from fmnist_runtime.image_io.decode import open_image

    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim < 2
            or picture.shape[2:] not in ((), (3,), (4,))
            or 0 in picture.shape
        ):
            raise ImageError(
                f"an array must be uint8 [H, W], [H, W, 3] or [H, W, 4], not {picture.dtype} {list(picture.shape)}"
            )
        return Image.fromarray(picture)
    if not isinstance(picture, Image.Image | str | os.PathLike | bytes):
        raise ImageError(
            f"a picture is a Pillow image, a uint8 array, a path, or a file's bytes; not {type(picture).__name__}"
        )
    return open_image(picture, max_pixels=max_pixels)


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        raise ConfigError(f"unknown provider '{name}'; known: {', '.join(PROVIDERS)}")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[name] not in available:
        here = ", ".join(short for short, full in PROVIDERS.items() if full in available)
        raise ConfigError(f"provider '{name}' is not in this onnxruntime build; there are: {here}")
    return PROVIDERS[name]


def _session(data: bytes, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong arrives as an exception; the log would only repeat it
    for kind in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{kind}.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(f"onnxruntime cannot load the model: {_first_line(error)}") from error
    session.disable_fallback()  # it would replace the provider that was asked for, and keeps the file's bytes for that
    session._model_bytes = None
    return session


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_signature(session: onnxruntime.InferenceSession, metadata: Metadata) -> None:
    inputs, outputs = session.get_inputs(), {output.name: output for output in session.get_outputs()}
    found = [(i.name, i.type, [d if isinstance(d, int) else "N" for d in i.shape]) for i in inputs]
    if found != [_INPUT]:
        raise ModelError(f"the model's input is {found}, expected image: uint8 [N, 1, 28, 28]; export it again")
    for name in _OUTPUTS:
        if name not in outputs or outputs[name].type != "tensor(float)":
            raise ModelError(f"the model has no float output '{name}'; export it again")
        if list(outputs[name].shape[1:]) != [len(metadata.labels)]:
            raise ModelError(
                f"the model's output '{name}' has shape {outputs[name].shape}, but {len(metadata.labels)} labels; export it again"
            )
