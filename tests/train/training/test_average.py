"""Averages of runs: the mean of their weights, validated and tested once, and only of runs that differ in their seeds."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import load_checkpoint, read_tensors, save_checkpoint, write_tensors
from fmnist_train.cli import app
from fmnist_train.data.sources import find_dataset, split_validation
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES
from fmnist_train.run_options import DataOptions, RunOptions
from fmnist_train.training import average
from fmnist_train.training.average import AverageOptions, average_runs
from fmnist_train.training.progress import Progress
from fmnist_train.training.run import SPLIT_SEED, train

LABELS = list(find_dataset("sample").labels)
NETWORK = {"widths": [4, 6, 8]}
RECIPE = dataclasses.replace(
    RECIPES["custom"], name="tuned", model="residual", model_options=NETWORK, epochs=1, scheduler="none", patience=0
)
OPTIONS = AverageOptions(DataOptions("sample"))
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with first weights and with two runs from them, which differ in their seeds."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    network = build_model("residual", classes=10, **NETWORK)
    info = {"model": {"name": "residual", "options": {"classes": 10, **NETWORK}}, "labels": LABELS, "dataset": "sample"}
    (folder / "first").mkdir()
    save_checkpoint(folder / "first" / "best", network, {**info, "recipe": RECIPE.to_dict(), "seed": 0, "epoch": 1})
    for seed in (0, 1):
        run = RunOptions("sample", output=folder / f"seed{seed}", seed=seed, start=folder / "first")
        train(RECIPE, run, QUIET)
    return folder


def test_the_average_has_the_mean_weights_and_is_validated_and_tested(runs: Path, tmp_path: Path) -> None:
    members = [runs / "seed0", runs / "seed1"]
    metrics = average_runs(members, tmp_path / "average", OPTIONS, QUIET)
    average, *networks = (load_checkpoint(folder).model for folder in (tmp_path / "average", *members))
    states = [network.state_dict() for network in networks]
    for name, tensor in average.state_dict().items():
        mean = (states[0][name].double() + states[1][name].double()) / 2
        assert torch.allclose(tensor.double(), mean, atol=0.5 if name.endswith("tracked") else 1e-6), name
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0]), "the runs differ"
    source = find_dataset("sample")
    _, validation = split_validation(source.load("train"), RECIPE.validation, SPLIT_SEED)
    for split, found in ((validation, metrics["validation"]), (source.load("test"), metrics["test"])):
        expected = (predict_logits(average, split.images).argmax(1) == split.labels).mean()
        assert found["accuracy"] == pytest.approx(expected)
    figures = [json.loads((run / "metrics.json").read_text()) for run in members]
    rows = [(row["seed"], row["test"], row["checkpoint_sha256"]) for row in metrics["averaged"]]
    assert rows == [(each["seed"], each["test"]["accuracy"], each["checkpoint_sha256"]) for each in figures]
    assert json.loads((tmp_path / "average" / "metrics.json").read_text()) == metrics
    with pytest.raises(ConfigError, match="give another --output"):
        average_runs(members, tmp_path / "average", OPTIONS, QUIET)


def test_an_average_that_was_killed_before_its_test_is_made_again(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [runs / "seed0", runs / "seed1"]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(average, "evaluate_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            average_runs(members, tmp_path / "average", OPTIONS, QUIET)
    average_runs(members, tmp_path / "average", OPTIONS, QUIET)
    assert (tmp_path / "average" / "metrics.json").is_file()


def test_three_runs_weigh_the_same(runs: Path, tmp_path: Path) -> None:
    train(RECIPE, RunOptions("sample", output=tmp_path / "seed2", seed=2, start=runs / "first"), QUIET)
    members = [runs / "seed0", runs / "seed1", tmp_path / "seed2"]
    average_runs(members, tmp_path / "average", OPTIONS, QUIET)
    weights = [
        next(load_checkpoint(run).model.parameters()).detach().numpy() for run in (*members, tmp_path / "average")
    ]
    assert np.allclose(np.mean(weights[:3], axis=0), weights[3], atol=1e-6)


def test_a_run_whose_recipe_was_stored_with_fields_that_are_gone_counts(runs: Path, tmp_path: Path) -> None:
    older = load_checkpoint(runs / "seed1")
    shutil.copytree(runs / "seed1", tmp_path / "older")
    recipe = {**RECIPE.to_dict(), "weight_drop": 0.0}
    save_checkpoint(tmp_path / "older" / "best", older.model, {**older.info, "recipe": recipe})
    metrics = average_runs([runs / "seed0", tmp_path / "older"], tmp_path / "average", OPTIONS, QUIET)
    assert [row["seed"] for row in metrics["averaged"]] == [0, 1]


def test_runs_that_differ_in_more_than_their_seeds_are_refused(runs: Path, tmp_path: Path) -> None:
    first, output = runs / "seed0", tmp_path / "average"
    with pytest.raises(ConfigError, match="at least two"):
        average_runs([first], output, OPTIONS, QUIET)
    with pytest.raises(ConfigError, match="are the same"):
        average_runs([first, first], output, OPTIONS, QUIET)
    for change, named in (
        ({"start": "ab"}, "first weights"),
        ({"recipe": {**RECIPE.to_dict(), "epochs": 2}}, "recipes"),
    ):
        other = load_checkpoint(runs / "seed1")
        folder = tmp_path / named.replace(" ", "-")
        folder.mkdir()
        save_checkpoint(folder / "best", other.model, {**other.info, **change})
        with pytest.raises(CheckpointError, match="no finished run"):
            average_runs([first, folder], output, OPTIONS, QUIET)
        (folder / "metrics.json").write_bytes((runs / "seed1" / "metrics.json").read_bytes())
        with pytest.raises(ConfigError, match=f"different {named}: average runs that differ in their seeds"):
            average_runs([first, folder], output, OPTIONS, QUIET)
    random = tmp_path / "random"
    train(RECIPE, RunOptions("sample", output=random), QUIET)
    with pytest.raises(ConfigError, match="began with random weights"):
        average_runs([random, first], output, OPTIONS, QUIET)
    assert not output.exists()


def test_the_command_prints_a_row_for_each_run(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = [str(runs / "seed0"), str(runs / "seed1")]
    app(["average", *members, "--data", "sample", "-q", "-o", str(tmp_path / "average")], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    metrics = json.loads((tmp_path / "average" / "metrics.json").read_text())
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "average"]
    assert lines[3].split()[2] == f"{metrics['test']['accuracy']:.2%}" and lines[4].endswith("average")


def test_an_average_is_tested_on_the_data_set_of_its_runs(runs: Path, tmp_path: Path) -> None:
    members, things = [runs / "seed0", runs / "seed1"], tmp_path / "things"
    for label in LABELS:
        (things / label.replace("/", " ")).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (28, 28), 60 * number).save(things / label.replace("/", " ") / f"{number}.png")
    with pytest.raises(ConfigError, match="the runs were trained on sample, not on things: name it with --data"):
        average_runs(members, tmp_path / "average", AverageOptions(DataOptions(str(things))), QUIET)
    assert not (tmp_path / "average").exists()


def test_runs_of_other_images_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "seed1", tmp_path / "other")
    state = tmp_path / "other" / "last.safetensors"
    tensors, info = read_tensors(state)
    write_tensors(state, tensors, {**info, "data_sha256": "0" * 64})
    with pytest.raises(ConfigError, match="other was trained on other images of sample: name those with --data"):
        average_runs([runs / "seed0", tmp_path / "other"], tmp_path / "average", OPTIONS, QUIET)
    assert not (tmp_path / "average").exists()


@pytest.mark.parametrize("damage", [{"validation": {}}, {"test": None}, {"seed": "0"}])
def test_damaged_figures_of_a_run_are_named(damage: dict, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "seed1", tmp_path / "damaged")
    path = tmp_path / "damaged" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(CheckpointError, match=r"damaged/metrics\.json is missing or damaged: .*--resume"):
        average_runs([runs / "seed0", tmp_path / "damaged"], tmp_path / "average", OPTIONS, QUIET)
