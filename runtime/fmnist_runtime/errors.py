"""Everything that can go wrong on purpose.

FmnistError
├── ImageError (ValueError)      a file that is no image, truncated, a bomb, of size zero, ...
├── ModelError (ValueError)      a file that is no model of ours, damaged, or of another signature or schema
├── DataError (ValueError)       a data set that is missing, malformed or mislabelled
├── ConfigError (ValueError)     options that cannot be, alone or together
├── CheckpointError (ValueError) a checkpoint that is missing, damaged or of another recipe
├── GateError                    an export whose proof failed (exit code 3)
└── MissingExtraError (ImportError)  an optional part that is not installed

Each message is one line that says what to do. The commands print it on stderr and exit with ``exit_code``.
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
    """Base of all errors raised on purpose by this project."""

    exit_code = 1


class ImageError(FmnistError, ValueError):
    """An image that cannot be read, or not safely."""


class ModelError(FmnistError, ValueError):
    """A model file that this runtime refuses."""


class DataError(FmnistError, ValueError):
    """A data set that is missing, malformed or mislabelled."""


class ConfigError(FmnistError, ValueError):
    """Options that cannot be, alone or together."""

    exit_code = 2


class CheckpointError(FmnistError, ValueError):
    """A checkpoint that is missing, damaged or belongs to another recipe."""


class GateError(FmnistError):
    """An exported model did not pass its proof; nothing was put in place of an earlier good file."""

    exit_code = 3


class MissingExtraError(FmnistError, ImportError):
    """An optional part of the toolkit is not installed."""
