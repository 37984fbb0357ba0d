"""Exceptions raised on purpose.

FmnistError
├── ImageError (ValueError)      file is not an image, truncated, too large, of size zero, ...
├── ModelError (ValueError)      file is not a model of this project, damaged, or of another signature or schema
├── DataError (ValueError)       data set is missing, malformed or mislabeled
├── ConfigError (ValueError)     options are invalid, alone or together
├── CheckpointError (ValueError) checkpoint is missing, damaged or of another recipe
├── GateError                    exported model failed its gate (exit code 3)
└── MissingExtraError (ImportError)  optional dependencies are not installed

Each message is one line: what happened, and what to do. The commands print it on stderr and exit with ``exit_code``.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FmnistError",
    "GateError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
]


class FmnistError(Exception):
    """Base class of all exceptions that this project raises on purpose."""

    exit_code = 1


class ImageError(FmnistError, ValueError):
    """Image cannot be read, or not safely."""


class ModelError(FmnistError, ValueError):
    """Model file is refused, or the model call failed."""


class DataError(FmnistError, ValueError):
    """Data set is missing, malformed or mislabeled."""


class ConfigError(FmnistError, ValueError):
    """Options are invalid, alone or together."""

    exit_code = 2


class CheckpointError(FmnistError, ValueError):
    """Checkpoint is missing, damaged or belongs to another recipe."""


class GateError(FmnistError):
    """Exported model failed its gate; earlier files were not replaced."""

    exit_code = 3


class MissingExtraError(FmnistError, ImportError):
    """Optional dependencies are not installed."""
