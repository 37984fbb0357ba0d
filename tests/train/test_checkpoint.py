"""Checkpoints: damaged files are refused in one line."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fmnist_runtime.errors import CheckpointError
from fmnist_train import checkpoint
from fmnist_train.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    newest_run,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from fmnist_train.models import build_model


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    path = tmp_path / "whole.safetensors"
    write_tensors(path, {"a": torch.arange(4.0), "b": torch.zeros(2, 2)}, {"format": 1, "model": {"name": "simple"}})
    return path.read_bytes()


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1), removed=st.integers(0, 30), inserted=st.binary(max_size=12))
def test_mutated_files_are_right_or_refused(
    place: float, removed: int, inserted: bytes, content: bytes, tmp_path: Path
) -> None:
    start = int(place * len(content))
    path = tmp_path / "mutated.safetensors"
    path.write_bytes(content[:start] + inserted + content[start + removed :])
    try:
        tensors, info = read_tensors(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert info == {"format": 1, "model": {"name": "simple"}}
        assert tensors["a"].tolist() == [0, 1, 2, 3] and tensors["b"].tolist() == [[0, 0], [0, 0]]


def test_a_changed_bit_is_refused_and_a_file_without_its_hash_is_read(content: bytes, tmp_path: Path) -> None:
    changed, elsewhere = tmp_path / "changed.safetensors", tmp_path / "elsewhere.safetensors"
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="changed since it was written"):
        read_tensors(changed)
    save_file({"a": torch.arange(4.0)}, elsewhere, {"info": "{}"})
    assert read_tensors(elsewhere)[0]["a"].tolist() == [0, 1, 2, 3]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(info=JSON | st.fixed_dictionaries({"format": JSON, "model": JSON}))
def test_any_description_is_right_or_refused(info: object, content: bytes, tmp_path: Path) -> None:
    """A header with valid JSON of another structure."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = {"info": json.dumps(info)}
    text = json.dumps(header).encode()
    path = tmp_path / "described.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    model = build_model("improved")
    info = {"model": {"name": "improved", "options": {}}}
    save_checkpoint(tmp_path / "best", model, info)
    save_checkpoint(tmp_path / "runs" / "one" / "best", model, info)
    assert newest_run(tmp_path / "runs") == tmp_path / "runs" / "one"
    file = tmp_path / "best.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "best", model, {"model": {"name": "improved", "options": {"classes": 4}}})
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    tensors = build_model("improved").state_dict() | {"extra": torch.zeros(1), "more" * 1000: torch.zeros(1)}
    write_tensors(tmp_path / "best.safetensors", tensors, {"model": {"name": "improved", "options": {}}})
    with pytest.raises(CheckpointError, match=r'do not fit their description: .*Unexpected key.*"extra"') as error:
        load_checkpoint(tmp_path)
    assert str(error.value).isprintable() and len(str(error.value)) < 1000


def test_no_other_file_than_the_named_one_is_read(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_checkpoint(run / "best", build_model("improved"), {"model": {"name": "improved", "options": {}}})
    assert find_checkpoint(run / "best") == find_checkpoint(run / "best.json") == run / "best.safetensors"
    for name in ("best.safetensor", "best.onnx", "best.v2"):
        with pytest.raises(CheckpointError, match="no checkpoint here"):
            find_checkpoint(run / name)
    with pytest.raises(CheckpointError, match=r"the quotes are part of the name"):
        find_checkpoint(f"'{run}'")


def test_a_small_file_cannot_take_gigabytes(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its description is of a network of 150 GB, which is refused before it is built."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    model = {"name": "custom", "options": {"channels": [65536, 65536], "hidden": [8]}}
    header["__metadata__"]["info"] = json.dumps({"format": 1, "model": model})
    text = json.dumps(header).encode()
    path = tmp_path / "described.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    built = []
    monkeypatch.setattr(
        checkpoint, "build_model", lambda name, **o: built.append(torch.get_default_device()) or build_model(name, **o)
    )
    with pytest.raises(CheckpointError, match="do not fit their description"):
        load_checkpoint(path)
    assert built == [torch.device("meta")]


def described(**changes: object) -> dict:
    info = {"model": {"name": "custom", "options": {"channels": [4], "hidden": [8]}}, "labels": ["a"], "recipe": {}}
    return {**info, "dataset": "own", **changes}


def test_a_missing_part_of_a_description_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", build_model("custom", channels=[4], hidden=[8]), described(recipe={"x": {"y": 1}}))
    info = load_checkpoint(tmp_path / "a").info
    assert info["recipe"]["x"]["y"] == 1 and info.get("seed") is None and "seed" not in info
    for place, key in ((info, "seed"), (info["recipe"], "validation"), (info["recipe"]["x"], "z")):
        with pytest.raises(CheckpointError, match=rf"a\.safetensors: its description has no '{key}'"):
            place[key]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("labels", {"labels": 5}),
        ("labels", {"labels": [5]}),
        ("dataset", {"dataset": ["x"]}),
        ("recipe", {"recipe": "simple"}),
        ("recipe.validation", {"recipe": {"validation": "0.1"}}),
        ("recipe.augmentation", {"recipe": {"augmentation": [1]}}),
        *(
            ("recipe.augmentation.photo", {"recipe": {"augmentation": {"photo": value}}})
            for value in ("0.5", None, [], -1, 1.5, float("nan"))
        ),
    ],
)
def test_a_part_of_another_type_is_refused(name: str, changes: dict, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", build_model("custom", channels=[4], hidden=[8]), described(**changes))
    with pytest.raises(
        CheckpointError, match=rf"a\.safetensors: its description is damaged: '{name}' has another type"
    ):
        load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_of_a_training_that_diverged_are_refused(weight: float, tmp_path: Path) -> None:
    model = build_model("custom", channels=[4], hidden=[8])
    with torch.no_grad():
        next(model.parameters())[0] = weight
    save_checkpoint(tmp_path / "best", model, described())
    with pytest.raises(CheckpointError, match=r"best\.safetensors: weights are infinite or no numbers"):
        load_checkpoint(tmp_path)


def test_weights_of_another_type_are_converted_or_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", build_model("custom", channels=[4], hidden=[8]), described())
    tensors, info = read_tensors(tmp_path / "best.safetensors")

    def loaded(change: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
        changed = {name: change(each) if each.is_floating_point() else each for name, each in tensors.items()}
        write_tensors(tmp_path / "best.safetensors", changed, info)
        return load_checkpoint(tmp_path).model

    model = loaded(lambda each: each.to(torch.float8_e4m3fn))
    assert all(each.dtype == torch.float32 for each in model.parameters())
    with pytest.raises(CheckpointError, match="weights are infinite or no numbers"):
        loaded(lambda each: each.double() + 1e300)
    with pytest.raises(CheckpointError, match=r"do not fit their description: '.*' has complex numbers"):
        loaded(lambda each: each.to(torch.complex64))


def test_the_sum_is_that_of_the_weights_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training replaces the file while it is read."""
    first, second = (build_model("custom", channels=[4], hidden=[8]) for _ in range(2))
    save_checkpoint(tmp_path / "a", first, described())
    before = hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()

    def build(name: str, **options: object) -> torch.nn.Module:
        save_checkpoint(tmp_path / "a", second, described())
        return build_model(name, **options)

    monkeypatch.setattr(checkpoint, "build_model", build)
    found = load_checkpoint(tmp_path / "a")
    assert found.sha256 == before
    assert all(torch.equal(found.model.state_dict()[key], value) for key, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<html>404", "a web page"),
        (b"PK\3\4" + bytes(26) + b"best.safetensors", "a ZIP archive; unpack it first"),
        (b"PK\3\4" + bytes(26) + b"best/data.pkl", "written by torch.save: .*'Weights from elsewhere'"),
    ],
)
def test_what_was_saved_in_place_of_a_checkpoint_is_named(content: bytes, advice: str, tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=advice):
        load_checkpoint(path)
