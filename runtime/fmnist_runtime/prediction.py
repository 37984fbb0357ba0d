"""What a classification answers: named tuples, which are made in a tenth of a dataclass's time, as is their class at start-up."""

from typing import NamedTuple

__all__ = ["Outcome", "Prediction", "Top"]


class Top(NamedTuple):
    """One class and its calibrated probability (0..1)."""

    label: str
    class_id: int
    probability: float


class Prediction(NamedTuple):
    """The answer for one picture.

    Attributes:
        label: the most probable class, or None where the picture was rejected.
        class_id: its position in the model's labels, or None where the picture was rejected.
        probability: the most probable class's calibrated probability (0..1), rejected or not.
        top: the most probable classes, best first; there even when the picture was rejected.
        rejected: the picture does not look like anything that the model knows.
        reason: why it was rejected, one line; else None.
    """

    label: str | None
    class_id: int | None
    probability: float
    top: tuple[Top, ...]
    rejected: bool = False
    reason: str | None = None


Outcome = Prediction | Exception
"""What one picture came to; a ``FmnistError`` where it could not be read, anything else is a fault of ours."""
