"""The loop: it learns, resumes to the same weights, and refuses what cannot be."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import load_checkpoint, write_tensors
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.recipes import RECIPES, Recipe
from fmnist_train.training.loop import Training, TrainingError


def start(folder: Path, recipe: Recipe, seed: int = 0, *, first: int = 0, **others: object) -> Training:
    train = find_dataset("sample").load("train")
    part, held = train.take(np.arange(first, first + 256)), train.take(np.arange(1000, 1100))
    about = {"labels": list(find_dataset("sample").labels), "dataset": "sample", **others}
    return Training(recipe, part, held, folder, seed=seed, device=torch.device("cpu"), description=about)


def quick(**changes: object) -> Recipe:
    return dataclasses.replace(RECIPES["improved-published"], epochs=3, batch_size=64, patience=0, **changes)


@pytest.mark.parametrize(("scheduler", "optimizer"), [("plateau", "adam"), ("cosine", "adamw"), ("cosine", "muon")])
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, scheduler: str, optimizer: str) -> None:
    recipe = quick(scheduler=scheduler, optimizer=optimizer, ema_decay=0.9)
    start(tmp_path / "whole", recipe).run()

    class KilledError(Exception):
        pass

    def kill(batch: int, batches: int) -> None:
        kill.calls += 1
        if kill.calls == batches + 2:  # in the middle of the second epoch
            raise KilledError

    kill.calls = 0
    with pytest.raises(KilledError):
        start(tmp_path / "broken", recipe).run(tick=kill)
    again = start(tmp_path / "broken", recipe)
    again.resume()
    assert len(again.history) == 1
    again.run()
    whole, broken = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


def test_resume_refuses_another_recipe(tmp_path: Path) -> None:
    start(tmp_path, quick()).run()
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.001 then, 0\.5 now"):
        start(tmp_path, quick(learning_rate=0.5)).resume()
    with pytest.raises(ConfigError, match="another seed"):
        start(tmp_path, quick(), seed=1).resume()
    for other in (quick(), quick(learning_rate=0.5)):  # the batches of a recipe may depend on the number of images
        with pytest.raises(ConfigError, match="started with other images: give another --output for these"):
            start(tmp_path, other, first=1).resume()
    with pytest.raises(ConfigError, match="another classes"):
        start(tmp_path, quick(), labels=list("abcdefghij")).resume()
    with pytest.raises(CheckpointError, match="no run to resume"):
        start(tmp_path / "empty", quick()).resume()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    training = start(tmp_path, quick())
    with torch.no_grad():
        next(training.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 1"):
        training.run()


def test_impossible_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than the 256"):
        start(tmp_path, dataclasses.replace(quick(), batch_size=1000))
    with pytest.raises(ConfigError, match="larger than the 63 images of an epoch; lower --batch-size, or raise"):
        start(tmp_path, quick(epoch_images=63))
    with pytest.raises(ConfigError, match="less than one photo beside 64 images; raise --photo-share"):
        start(tmp_path, quick(start="nano", photo_share=1e-9))
    for changes in ({"epochs": 0}, {"learning_rate": 0}, {"validation": 0}, {"optimizer": "magic"}, {"scheduler": "x"}):
        with pytest.raises(ConfigError):
            dataclasses.replace(RECIPES["improved-published"], **changes)


def test_training_learns(tmp_path: Path) -> None:
    training = start(tmp_path, dataclasses.replace(quick(), epochs=6))
    training.run()
    assert training.history[-1].train_loss < 0.6 * training.history[0].train_loss
    test = find_dataset("sample").load("test")
    right = predict_logits(load_checkpoint(tmp_path).model, test.images).argmax(1) == test.labels
    assert right.mean() > 0.3  # three times chance, after 24 steps


def test_a_checkpoint_is_no_state_to_resume(tmp_path: Path) -> None:
    """A copy of the best checkpoint in the place of the run's state: it has weights, and no optimizer."""
    start(tmp_path, quick()).run()
    (tmp_path / "last.safetensors").write_bytes((tmp_path / "best.safetensors").read_bytes())
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors: not the state of a run, which --resume needs"
    ) as error:
        start(tmp_path, quick()).resume()
    assert "\n" not in str(error.value)
    write_tensors(tmp_path / "last.safetensors", {"model.x": torch.zeros(1)}, {"format": 1, "recipe": 3, "labels": 3})
    with pytest.raises(CheckpointError, match="not the state of a run"):
        start(tmp_path, quick()).resume()
