"""Metadata of a model file: what is incomplete or malformed is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_runtime import Classifier, ModelError

Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "upgrade fmnist-edge"),
        ({"schema": "one"}, "damaged"),
        ({"labels": ["a", "b"]}, "2 labels"),
        ({"labels": []}, "no labels"),
        ({"labels": "abc"}, "not a list"),
        ({"labels": [[] for _ in range(1)]}, "1 labels"),
        ({"temperature": 10**400}, "malformed"),
        ({"temperature": float("inf")}, "temperature"),
        ({"reject": {"score": "energy", "threshold": 10**400}}, "malformed"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": None}, "incomplete"),
        ({"reject": {"score": "magic", "threshold": 1}}, "magic"),
        ({"reject": {"score": "energy"}}, "malformed"),
    ],
)
def test_bad_metadata_is_refused(make_model: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Classifier.load(make_model(**changes))


def test_metadata_without_end_are_refused(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.dumps", lambda value: "[" * 100_000)
    with pytest.raises(ModelError, match="not JSON"):
        Classifier.load(make_model())
