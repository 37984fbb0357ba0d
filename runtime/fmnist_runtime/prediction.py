"""Result types of a classification.

Named tuples rather than dataclasses: they are created ten times as fast, and so is the class itself at start-up.
"""

from typing import Any, NamedTuple

__all__ = ["Answer", "Prediction", "PredictionOrError", "Top"]


class Top(NamedTuple):
    """One class and its calibrated probability (0..1)."""

    label: str
    class_id: int
    probability: float


class Prediction(NamedTuple):
    """Result for one image.

    Attributes:
        label: Most probable class; None where the image was rejected.
        class_id: Position of the label in the model's labels; None where the image was rejected.
        probability: Calibrated probability of the most probable class (0..1), rejected or not.
        top: Most probable classes, best first; also present where the image was rejected.
        rejected: True where the image looks like none of the model's classes.
        reason: Why the image was rejected, one line; None where it was accepted.
    """

    label: str | None
    class_id: int | None
    probability: float
    top: tuple[Top, ...]
    rejected: bool = False
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready form that the command and the service write; ``reason`` only where there is one."""
        values = {
            "label": self.label,
            "class_id": self.class_id,
            "probability": self.probability,
            "top": [top._asdict() for top in self.top],
            "rejected": self.rejected,
        }
        return values if self.reason is None else {**values, "reason": self.reason}


PredictionOrError = Prediction | Exception
"""Result of one image of a batch: a ``FmnistError`` where it could not be read; any other exception is a defect."""

_NO_PREDICTION: dict[str, Any] = {"label": None, "class_id": None, "probability": None, "top": [], "rejected": False}


class Answer(NamedTuple):
    """Result for one image of many, with the image's name: a prediction or an error."""

    path: str
    """Path as given, or path below a given folder; ``[3]`` for the fourth image if it has no path."""
    prediction: Prediction | None
    """Result; None if the image could not be read."""
    error: str | None = None
    """Reason why the image could not be read, one line; None if it was read."""

    @classmethod
    def of(cls, path: str, result: PredictionOrError) -> "Answer":
        """Combines a name and a result; an exception becomes its message."""
        return cls(path, None, str(result)) if isinstance(result, Exception) else cls(path, result)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready form; an unreadable image has ``error``, and null in place of a prediction."""
        if self.prediction is None:
            return {"path": self.path, **_NO_PREDICTION, "top": [], "error": self.error}
        return {"path": self.path, **self.prediction.to_dict()}
