"""Metadata of a model file: what is incomplete or malformed is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.model_file.integrity import checksum_span, file_checksum
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.network.page_model import page_model

Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "upgrade fmnist-edge"),
        ({"schema": "one"}, "damaged"),
        ({"schema": True}, "damaged"),
        ({"labels": ["a", "b"]}, "2 labels"),
        ({"labels": []}, "no labels"),
        ({"labels": "abc"}, "not a list"),
        ({"labels": ["a", "", "c"]}, "a label is empty"),
        ({"labels": [[] for _ in range(1)]}, "1 labels"),
        ({"temperature": 10**400}, "malformed"),
        ({"temperature": float("inf")}, "temperature"),
        ({"reject": {"score": "energy", "threshold": 10**400}}, "malformed"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1e300}, "float32 temperature"),
        ({"temperature": 1e-300}, "float32 temperature"),
        ({"temperature": 1e-45}, "float32 temperature"),
        ({"temperature": "nan"}, "float32 temperature"),
        ({"reject": {"score": "energy", "threshold": "nan"}}, "float32 threshold"),
        ({"reject": {"score": "energy", "threshold": "-inf"}}, "float32 threshold"),
        ({"reject": {"score": "energy", "threshold": 1e300}}, "float32 threshold"),
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


@pytest.mark.parametrize("replaced", [b"RRRR", b"fmnist.extra"])
def test_metadata_that_is_not_text_is_refused(replaced: bytes, make_model: Make) -> None:
    """Onnxruntime gives its bytes to Python only where they are UTF-8."""
    path = make_model(extra="RRRR")
    data = bytearray(path.read_bytes().replace(replaced, b"\xff" * len(replaced)))
    span = checksum_span(bytes(data))
    data[span] = file_checksum(bytes(data), span).encode()
    path.write_bytes(data)
    with pytest.raises(ModelError, match="metadata is not UTF-8 text"):
        Classifier.load(path)


def test_a_long_value_makes_no_long_message(make_model: Make) -> None:
    with pytest.raises(ModelError) as refusal:
        Classifier.load(make_model(temperature="x" * 1_000_000))
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"schema": int("9" * 4000)}, "upgrade fmnist-edge on this device"),
        ({"schema": "x" * 100_000}, "the file is damaged"),
        ({"reject": {"score": "x" * 100_000, "threshold": 1}}, "upgrade it"),
    ],
)
def test_a_long_value_is_quoted_in_part(make_model: Make, changes: dict[str, object], advice: str) -> None:
    path = make_model(**changes)
    with pytest.raises(ModelError, match=advice) as refusal:
        Classifier.load(path)
    assert str(refusal.value).startswith(f"{path}: the model") and len(str(refusal.value)) < 1100


def test_a_long_key_is_quoted_in_part() -> None:
    with pytest.raises(ModelError, match=r"not JSON; the file is damaged$") as refusal:
        Metadata.from_props({"fmnist.schema": "1", "fmnist." + "k" * 100_000: "nope"})
    assert len(str(refusal.value)) < 1100


@pytest.mark.parametrize("read", [Classifier.from_bytes, page_model])
@pytest.mark.parametrize(
    "fields",
    [{"x": ["y" * 1000] * 3000}, {f"k{i}": 1 for i in range(2000)}, {"k" * 3_000_000: 1}],
    ids=["a long value", "many keys", "a long key"],
)
def test_metadata_over_their_limits_are_refused_before_they_are_read(
    read: Callable[[bytes], object], fields: dict[str, object], make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_model(**fields).read_bytes()
    for module in ("model_file.metadata.json.loads", "classifier.open_session", "network.page_model.read_graph"):
        monkeypatch.setattr(f"fmnist_runtime.{module}", None)
    with pytest.raises(ModelError, match="more than 1,000 keys or 2 MiB: refused"):
        read(data)


def test_large_metadata_of_an_ort_file_are_refused_unparsed() -> None:
    with pytest.raises(ModelError, match="more than 1,000 keys or 2 MiB: refused"):
        Metadata.from_props({"fmnist.schema": "1", "fmnist.x": "[" * 3_000_000})


def test_a_thousand_classes_are_within_the_limits(make_model: Make) -> None:
    labels = [f"{'class' * 20} {i}" for i in range(1000)]
    differs = [[100_000 + i, 999] for i in range(50_000)]
    path = make_model(classes=1000, labels=labels, proof={"pytorch_differs": differs})
    assert Classifier.load(path).labels == tuple(labels)
