"""Distillation: the pupil learns from the teacher, and a teacher that cannot teach is refused before training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import load_checkpoint, save_checkpoint
from fmnist_train.data import Split, find_dataset
from fmnist_train.evaluate import predict_logits
from fmnist_train.loop import Training
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES, Augmentation, Recipe
from fmnist_train.teacher import distillation_loss, find_teachers, teachers_answers

LABELS = list(find_dataset("sample").labels)
PLAIN = dataclasses.replace(
    RECIPES["custom"], model_options={"channels": [8, 16], "hidden": [32]}, epochs=6, batch_size=64, patience=0
)


def run(folder: Path, recipe: Recipe, part: Split, teachers: tuple[Path, ...] = ()) -> Training:
    held = find_dataset("sample").load("test").take(np.arange(100))
    about = {"labels": LABELS, "dataset": "sample"}
    found = find_teachers(recipe, teachers, LABELS)
    training = Training(recipe, part, held, folder, device=torch.device("cpu"), teachers=found, about=about)
    training.run()
    return training


def test_the_loss_is_the_divergence_of_softened_probabilities() -> None:
    torch.manual_seed(0)
    pupil, teacher = torch.randn(5, 10), torch.randn(5, 10) * 3
    p, q = (pupil / 4).softmax(1), (teacher / 4).softmax(1)
    expected = 16 * (q * (q / p).log()).sum(1).mean()
    assert torch.isclose(distillation_loss(pupil, teacher, 4), expected, rtol=1e-5)
    assert distillation_loss(teacher + 7, teacher, 4).abs() < 1e-5, "logits are only known up to a constant"


def test_a_pupil_learns_from_the_teacher_alone(tmp_path: Path) -> None:
    """All labels are wrong, and have no weight: what is right can only come from the teacher."""
    part = find_dataset("sample").load("train")
    run(tmp_path / "teacher", PLAIN, part)
    mislabelled = Split(part.images, (part.labels + 1) % 10)
    pupil = run(
        tmp_path / "pupil", dataclasses.replace(PLAIN, distillation=1.0), mislabelled, (tmp_path / "teacher",)
    ).model
    test = find_dataset("sample").load("test")
    right = (predict_logits(pupil, test.images).argmax(1) == test.labels).mean()
    assert right > 0.6
    assert load_checkpoint(tmp_path / "pupil").info["teachers"] == [load_checkpoint(tmp_path / "teacher").sha256]


def small(folder: Path, seed: int) -> Path:
    """A checkpoint of an untrained network."""
    torch.manual_seed(seed)
    info = {"model": {"name": "residual", "options": {"widths": [4, 4, 4]}}, "labels": LABELS}
    save_checkpoint(folder / "best", build_model("residual", widths=[4, 4, 4]), info)
    return folder


def test_several_teachers_and_both_views_are_averaged(tmp_path: Path) -> None:
    checkpoints = [load_checkpoint(small(tmp_path / f"{seed}", seed)) for seed in (0, 1)]
    images = find_dataset("sample").load("train").images[:5]
    seen, cpu = [images, images[:, :, ::-1]], torch.device("cpu")
    alone = [[predict_logits(checkpoint.model, view) for view in seen] for checkpoint in checkpoints]
    plain = teachers_answers(checkpoints, images, cpu, mirrored=False)
    assert np.allclose(plain, np.mean(alone, axis=0)[0], atol=1e-5) and plain.shape == (5, 10)
    assert np.allclose(
        teachers_answers(checkpoints, images, cpu, mirrored=True), np.mean(alone, axis=(0, 1)), atol=1e-5
    )


def test_every_picture_gets_its_own_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the images are drawn in, and however they are changed."""
    part = find_dataset("sample").load("train").take(np.arange(128))
    recipe = dataclasses.replace(PLAIN, distillation=0.5, epochs=1, augmentation=Augmentation(photo=0.5, outliers=0.1))
    about = {"labels": LABELS, "dataset": "sample"}
    teachers = [load_checkpoint(small(tmp_path / "teacher", 0))]
    training = Training(recipe, part, part, tmp_path, device=torch.device("cpu"), teachers=teachers, about=about)
    told: list[torch.Tensor] = []

    def keep(images: torch.Tensor, labels: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        told.append(torch.stack([images.flatten(1).sum(1).float(), answers[:, 0]], dim=1))
        return torch.zeros(()), torch.zeros(())

    monkeypatch.setattr(training, "_train_batch", keep)
    training._train_epoch(1, lambda batch, batches: None)
    expected = predict_logits(teachers[0].model, part.images)[:, 0]
    sums = part.images.reshape(128, -1).sum(1, dtype=np.int64)
    for total, answer in torch.cat(told).tolist():
        assert any(abs(expected[i] - answer) < 1e-5 for i in np.flatnonzero(sums == total))


def test_labels_and_teacher_share_the_loss(tmp_path: Path) -> None:
    """With all the weight on the teacher the labels do not matter; with none of it the teacher does not."""
    part = find_dataset("sample").load("train").take(np.arange(64))
    losses = {}
    for weight in (0.25, 0.5, 1.0):
        recipe = dataclasses.replace(PLAIN, distillation=weight)
        about = {"labels": LABELS, "dataset": "sample"}
        training = Training(recipe, part, part, tmp_path, device=torch.device("cpu"), about=about)
        torch.manual_seed(1)
        losses[weight], _ = training._train_batch(training.images, training.labels, torch.randn(64, 10))
    assert torch.isclose(losses[0.5] - losses[0.25], (losses[1.0] - losses[0.5]) / 2, rtol=1e-3)
    assert not torch.isclose(losses[0.5], losses[1.0])


def test_without_a_teacher_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pupil = dataclasses.replace(RECIPES["micro"], teacher="best")
    with pytest.raises(CheckpointError, match="fmnist-train --recipe best"):
        find_teachers(pupil, (), LABELS)
    for name in ("runs/best-seed0", "artifacts/improved-best"):
        small(tmp_path / name, 0)
    metrics = tmp_path / "runs/best-seed0/metrics.json"
    for unfinished in (None, '{"interrupted": true}'):
        if unfinished:
            metrics.write_text(unfinished)
        with pytest.raises(CheckpointError, match="finished run"):
            find_teachers(pupil, (), LABELS)
    metrics.write_text('{"interrupted": false}')
    assert [c.path.parent.name for c in find_teachers(pupil, (), LABELS)] == ["best-seed0"]
    found = find_teachers(dataclasses.replace(pupil, teacher="improved-best,best"), (), LABELS)
    assert [c.path.parent.name for c in found] == ["improved-best", "best-seed0"]
    with pytest.raises(ConfigError, match="--distillation"):
        find_teachers(RECIPES["improved"], (tmp_path,), LABELS)


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    info = {"model": {"name": "residual", "options": {"widths": [4, 4, 4], "classes": 2}}, "labels": ["cat", "dog"]}
    save_checkpoint(tmp_path / "best", build_model("residual", widths=[4, 4, 4], classes=2), info)
    with pytest.raises(ConfigError, match="other classes"):
        find_teachers(RECIPES["micro"], (tmp_path,), LABELS)


def test_teachers_do_not_answer_mixed_pairs() -> None:
    with pytest.raises(ConfigError, match="mixed pairs"):
        dataclasses.replace(RECIPES["micro"], targets="soft")


def test_a_run_goes_on_only_with_the_same_teacher(tmp_path: Path) -> None:
    part = find_dataset("sample").load("train").take(np.arange(200))
    short = dataclasses.replace(PLAIN, epochs=1)
    run(tmp_path / "one", short, part)
    run(tmp_path / "other", dataclasses.replace(short, learning_rate=2e-3), part)
    recipe = dataclasses.replace(short, distillation=0.5)
    run(tmp_path / "pupil", recipe, part, (tmp_path / "one",))
    about = {"labels": LABELS, "dataset": "sample"}
    other = find_teachers(recipe, (tmp_path / "other",), LABELS)
    again = Training(recipe, part, part, tmp_path / "pupil", device=torch.device("cpu"), teachers=other, about=about)
    with pytest.raises(CheckpointError, match="another teacher"):
        again.resume()
