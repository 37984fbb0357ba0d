"""Metadata of a model file: what is incomplete or malformed is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.model_file.metadata import Metadata

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


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_json_lacks_are_refused(number: str) -> None:
    """They would make the output of --json unreadable for other programs."""
    with pytest.raises(ModelError, match=r"fmnist\.x is not JSON"):
        Metadata.from_props({"fmnist.schema": "1", "fmnist.x": f'{{"a": [{number}]}}'})


def test_metadata_without_end_are_refused(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.dumps", lambda value: "[" * 100_000)
    with pytest.raises(ModelError, match="not JSON"):
        Classifier.load(make_model())
