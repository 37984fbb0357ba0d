"""onnxruntime sessions: one explicit execution provider, few threads, and a checked signature."""

import mmap
import os

import onnxruntime

from fmnist_runtime.cpus import MAX_THREADS, grantable_threads, limits_address_space
from fmnist_runtime.errors import ConfigError, FmnistError, ModelError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = [
    "OUTPUTS",
    "PROVIDERS",
    "check_signature",
    "first_line",
    "metadata_props",
    "open_session",
    "require_thread_range",
    "turn_off_tracing",
]

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

OUTPUTS = ("logits", "probabilities")
"""Names of the model's outputs, both float32 ``[N, classes]``."""
_BLAS_BYTES = 36 << 20
"""Bytes of address space that OpenBLAS takes at its first product of matrices, and some more."""
_INPUT = ("image", "tensor(uint8)", ["N", 1, IMAGE_SIZE, IMAGE_SIZE])


def turn_off_tracing(system: str = os.name) -> None:
    """Turns off the trace events of onnxruntime's wheels for Windows, which the system may upload.

    On Windows, ``ORT_DISABLE_TELEMETRY`` alone has no effect; elsewhere it is enough. Called once, on import.

    Args:
        system: ``os.name``.
    """
    if system == "nt" and os.environ.get("ORT_DISABLE_TELEMETRY") == "1":
        onnxruntime.disable_telemetry_events()


turn_off_tracing()


def open_session(data: bytes, *, threads: int, provider: str) -> onnxruntime.InferenceSession:
    """Loads a model into onnxruntime.

    Args:
        data: A model file's contents.
        threads: Threads of one model call, 1 to 256. Waiting threads sleep.
        provider: A key of ``PROVIDERS``; never replaced by another.

    Raises:
        ConfigError: An unknown or unavailable provider, or a number of threads out of range.
        FmnistError: The system starts fewer threads than requested.
        ModelError: onnxruntime refuses the model.
        MemoryError: The process has a limit on its memory (``ulimit -v``) that leaves too little for a photo.
    """
    require_thread_range(threads)
    chosen = _find_provider(provider)
    _require_threads(threads - 1)  # the calling thread is the first
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors arrive as exceptions; the log would repeat them
    for kind in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{kind}.allow_spinning", "0")
    try:
        # A fallback would replace the requested provider, print on standard output, and keep the file's bytes.
        session = onnxruntime.InferenceSession(data, options, providers=[chosen], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(f"onnxruntime cannot load the model: {first_line(error)}") from error
    session._model_bytes = None
    _require_blas_memory()
    return session


def _require_blas_memory() -> None:
    """Checks that memory is left for OpenBLAS, which ends the process with a line of its own where it gets none."""
    if limits_address_space():
        try:
            mmap.mmap(-1, _BLAS_BYTES).close()
        except OSError as error:
            raise MemoryError("no memory is left for a photo") from error


def metadata_props(session: onnxruntime.InferenceSession) -> dict[str, str]:
    """Returns the metadata values of a model by key.

    Raises:
        ModelError: A key or value is not UTF-8 text.
    """
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeError as error:
        raise ModelError("the model's metadata is not UTF-8 text; the file is damaged") from error


def check_signature(session: onnxruntime.InferenceSession, classes: int) -> None:
    """Checks the names, types and shapes of a model's inputs and outputs.

    Args:
        session: The loaded model.
        classes: Number of labels in its metadata.

    Raises:
        ModelError: The signature is not ``image: uint8 [N, 1, 28, 28]`` to float ``logits`` and ``probabilities``.
    """
    inputs, outputs = session.get_inputs(), {output.name: output for output in session.get_outputs()}
    found = [(i.name, i.type, [d if isinstance(d, int) else "N" for d in i.shape]) for i in inputs]
    if found != [_INPUT]:
        raise ModelError(f"the model's input is {found}, expected image: uint8 [N, 1, 28, 28]; export it again")
    for name in OUTPUTS:
        if name not in outputs or outputs[name].type != "tensor(float)":
            raise ModelError(f"the model has no float output '{name}'; export it again")
        shape = outputs[name].shape
        if list(shape[1:]) != [classes]:
            raise ModelError(f"the model's output '{name}' has shape {shape}, but {classes} labels; export it again")


def first_line(error: Exception) -> str:
    """Returns the first line of an exception's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def require_thread_range(threads: int) -> None:
    """Checks that a number of threads is 1 to 256.

    Raises:
        ConfigError: It is not.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"threads must be 1 to {MAX_THREADS}, not {threads}")


def _require_threads(count: int) -> None:
    """Checks that the system can start this many threads: onnxruntime waits forever if it gets only some of its threads."""
    granted = grantable_threads(count)
    if granted < count:
        raise FmnistError(f"the system grants {granted + 1} of {count + 1} threads; use one: --threads 1")


def _find_provider(name: str) -> str:
    if name not in PROVIDERS:
        raise ConfigError(f"unknown provider '{name}'; known: {', '.join(PROVIDERS)}")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[name] not in available:
        here = ", ".join(short for short, full in PROVIDERS.items() if full in available)
        raise ConfigError(f"provider '{name}' is not in this onnxruntime build; available: {here}")
    return PROVIDERS[name]
