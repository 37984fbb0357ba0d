"""Distillation: the student learns from the teacher, and a teacher that cannot teach is refused before training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fmnist_runtime.errors import CheckpointError, ConfigError
from fmnist_train.checkpoint import load_checkpoint, read_tensors, save_checkpoint, write_tensors
from fmnist_train.data.sources import Split, find_dataset
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES, Augmentation, Recipe
from fmnist_train.run_options import RunOptions
from fmnist_train.training.loop import Training
from fmnist_train.training.run import read_inputs
from fmnist_train.training.step import TrainingStep
from fmnist_train.training.teacher import (
    StoredViews,
    ViewTeacher,
    distillation_loss,
    find_photo_teachers,
    find_start,
    find_teachers,
)

ROOT = Path(__file__).parents[3]
LABELS = list(find_dataset("sample").labels)
PLAIN = dataclasses.replace(
    RECIPES["custom"], model_options={"channels": [8, 16], "hidden": [32]}, epochs=6, batch_size=64, patience=0
)


def run(folder: Path, recipe: Recipe, part: Split, teachers: tuple[Path, ...] = ()) -> Training:
    held = find_dataset("sample").load("test").take(np.arange(100))
    about = {"labels": LABELS, "dataset": "sample"}
    found = find_teachers(recipe, teachers, LABELS)
    training = Training(recipe, part, held, folder, device=torch.device("cpu"), teachers=found, description=about)
    training.run()
    return training


def test_the_loss_is_the_divergence_of_softened_probabilities() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 10), torch.randn(5, 10) * 3
    p, q = (student / 4).softmax(1), (teacher / 4).softmax(1)
    expected = 16 * (q * (q / p).log()).sum(1).mean()
    assert torch.isclose(distillation_loss(student, teacher, 4), expected, rtol=1e-5)
    assert distillation_loss(teacher + 7, teacher, 4).abs() < 1e-5, "logits are only known up to a constant"


def test_a_student_learns_from_the_teacher_alone(tmp_path: Path) -> None:
    """All labels are wrong, and have no weight: what is right can only come from the teacher."""
    part = find_dataset("sample").load("train")
    run(tmp_path / "teacher", PLAIN, part)
    mislabeled = Split(part.images, (part.labels + 1) % 10)
    student = run(
        tmp_path / "student", dataclasses.replace(PLAIN, distillation=1.0), mislabeled, (tmp_path / "teacher",)
    ).model
    test = find_dataset("sample").load("test")
    right = (predict_logits(student, test.images).argmax(1) == test.labels).mean()
    assert right > 0.6
    assert load_checkpoint(tmp_path / "student").info["teachers"] == [load_checkpoint(tmp_path / "teacher").sha256]


def small(folder: Path, seed: int, photo: float = 0.0) -> Path:
    """A checkpoint of an untrained network; ``photo`` is that of its recipe."""
    torch.manual_seed(seed)
    recipe = dataclasses.replace(PLAIN, augmentation=Augmentation(photo=photo)).to_dict()
    info = {"model": {"name": "residual", "options": {"widths": [4, 4, 4]}}, "labels": LABELS, "recipe": recipe}
    save_checkpoint(folder / "best", build_model("residual", widths=[4, 4, 4]), info)
    return folder


def test_answers_to_views_are_the_mean_of_teachers_which_never_change(tmp_path: Path) -> None:
    checkpoints = [load_checkpoint(small(tmp_path / f"{seed}", seed)) for seed in (0, 1)]
    teacher = ViewTeacher(checkpoints, torch.device("cpu"))
    views = torch.rand(3, 1, 28, 28) * 255
    alone = torch.stack([checkpoint.model(views) for checkpoint in checkpoints])
    answers, taught = teacher(views, torch.zeros(3, dtype=torch.bool))
    assert torch.allclose(answers, alone.mean(0)) and taught.all()
    assert not answers.requires_grad
    assert not any(module.training for module in teacher.networks.modules())


def test_photographs_are_left_to_teachers_that_know_some(tmp_path: Path) -> None:
    plain, photographer = (load_checkpoint(small(tmp_path / f"{seed}", seed, photo=seed / 2)) for seed in (0, 1))
    views, photographed = torch.rand(3, 1, 28, 28) * 255, torch.tensor([False, True, False])
    cpu = torch.device("cpu")
    answers, taught = ViewTeacher([plain], cpu)(views, photographed)
    assert taught.tolist() == [True, False, True]
    assert torch.allclose(answers, plain.model(views[[0, 2]]), atol=1e-5)
    answers, taught = ViewTeacher([plain, photographer], cpu)(views, photographed)
    assert taught.all()
    assert torch.allclose(answers[1], photographer.model(views[1:2])[0], atol=1e-5)
    both = torch.stack([plain.model(views), photographer.model(views)]).mean(0)
    assert torch.allclose(answers[[0, 2]], both[[0, 2]], atol=1e-5)


def test_each_picture_gets_the_answer_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the images are drawn in."""
    part = find_dataset("sample").load("train").take(np.arange(128))
    recipe = dataclasses.replace(PLAIN, distillation=0.5, epochs=1)
    about = {"labels": LABELS, "dataset": "sample"}
    teachers = [load_checkpoint(small(tmp_path / "teacher", 0))]
    cpu = torch.device("cpu")
    training = Training(
        recipe, part, part, tmp_path, device=cpu, mixed_precision=False, teachers=teachers, description=about
    )
    distilled: list[tuple[torch.Tensor, ...]] = []
    monkeypatch.setattr(TrainingStep, "_distill", lambda _, *taught: distilled.append(taught) or taught[0].sum())
    training._train_epoch(1, lambda batch, batches: None)
    expected = predict_logits(teachers[0].model, part.images)
    assert len(distilled) == 2
    for _, targets, answers, taught in distilled:
        assert taught.all()
        for label, answer in zip(targets, answers, strict=True):
            assert np.abs(expected[part.labels == label.item()] - answer.numpy()).max(axis=1).min() < 1e-4


def test_each_picture_weighs_the_same_taught_or_not(tmp_path: Path) -> None:
    part = find_dataset("sample").load("train").take(np.arange(64))
    recipe = dataclasses.replace(PLAIN, distillation=0.5)
    about = {"labels": LABELS, "dataset": "sample"}
    training = Training(recipe, part, part, tmp_path, device=torch.device("cpu"), description=about)
    logits, targets, answers = torch.randn(8, 10), torch.randint(10, (8,)), torch.randn(8, 10)
    for taught in (torch.arange(8) < 3, torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)):
        expected = F.cross_entropy(logits, targets, reduction="none")
        distilled = torch.stack([distillation_loss(a[None], b[None], 2) for a, b in zip(logits, answers, strict=True)])
        expected = torch.where(taught, (expected + distilled) / 2, expected).mean()
        assert torch.isclose(training.step._distill(logits, targets, answers[taught], taught), expected)


def test_without_a_teacher_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    student = dataclasses.replace(RECIPES["micro"], teacher="best")
    with pytest.raises(CheckpointError, match=r"train 'best' on the same data .* with --teacher; .*improved-published"):
        find_teachers(student, (), LABELS)
    for name in ("runs/best-seed0", "artifacts/improved"):
        small(tmp_path / name, 0)
    metrics = tmp_path / "runs/best-seed0/metrics.json"
    for unfinished in (None, '{"interrupted": true}'):
        if unfinished:
            metrics.write_text(unfinished)
        with pytest.raises(CheckpointError, match="finished run"):
            find_teachers(student, (), LABELS)
    metrics.write_text('{"interrupted": false}')
    assert [c.path.parent.name for c in find_teachers(student, (), LABELS)] == ["best-seed0"]
    found = find_teachers(dataclasses.replace(student, teacher="improved-best,best"), (), LABELS)
    assert [c.path.parent.name for c in found] == ["improved", "best-seed0"]
    with pytest.raises(ConfigError, match="--distillation"):
        find_teachers(RECIPES["improved-published"], (tmp_path,), LABELS)


def test_a_run_names_every_checkpoint_that_it_learns_from(tmp_path: Path) -> None:
    start, teacher = small(tmp_path / "start", 0), small(tmp_path / "teacher", 1)
    recipe = dataclasses.replace(PLAIN, distillation=0.5)
    notes: list[str] = []
    read_inputs(recipe, RunOptions(data="sample", start=start, teachers=(teacher,)), notes.append)
    assert notes[1:] == [f"first weights: {start}/best.safetensors", f"teachers: {teacher}/best.safetensors"]


def test_the_recipe_of_a_run_names_no_checkpoint_that_an_option_replaced(tmp_path: Path) -> None:
    """Model cards name the teachers of a recipe beside the SHA-256 of those that a run had."""
    paths = {"start": small(tmp_path / "start", 0), "teachers": (small(tmp_path / "teacher", 1),)}
    recipe = dataclasses.replace(PLAIN, model="residual", model_options={"widths": [4, 4, 4]}, distillation=0.5)
    recipe = dataclasses.replace(recipe, start="improved", teacher="mine", photo_teacher="best-photos")
    options = RunOptions(data="sample", **paths)
    run = read_inputs(recipe, options, lambda note: None).training(recipe, tmp_path, options, torch.device("cpu"))
    assert (run.recipe.start, run.recipe.teacher, run.recipe.photo_teacher) == ("", "", "best-photos")
    assert run.description["start"] == load_checkpoint(paths["start"]).sha256
    with pytest.raises(ConfigError, match="recipe 'custom' names no teacher: name one with --teacher"):
        find_teachers(run.recipe, (), LABELS)


def test_the_repository_holds_what_the_recipes_of_shipped_models_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    students = [recipe for recipe in RECIPES.values() if recipe.distillation]
    assert {"improved", "improved-lite", "micro", "nano", "improved-photos"} <= {each.name for each in students}
    for recipe in students:
        start = find_start(recipe, None, LABELS)
        assert (start is None) is not bool(recipe.start)
        assert len(find_teachers(recipe, (), LABELS, start)) == len(recipe.teacher.split(","))
        assert bool(find_photo_teachers(recipe, (), LABELS)) is bool(recipe.photo_teacher)


def test_missing_photo_teachers_are_named_before_the_photos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = dataclasses.replace(
        PLAIN, start="any", photo_share=0.3, photo_distillation=0.5, photo_teacher="best-photos"
    )
    options = RunOptions(data="sample", start=small(tmp_path / "start", 0), photos=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no finished run of 'best-photos'"):
        read_inputs(recipe, options, lambda note: None)


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    info = {"model": {"name": "residual", "options": {"widths": [4, 4, 4], "classes": 2}}, "labels": ["cat", "dog"]}
    save_checkpoint(tmp_path / "best", build_model("residual", widths=[4, 4, 4], classes=2), info)
    with pytest.raises(ConfigError, match="other classes"):
        find_teachers(RECIPES["micro"], (tmp_path,), LABELS)


def test_a_run_goes_on_only_with_the_same_teacher(tmp_path: Path) -> None:
    part = find_dataset("sample").load("train").take(np.arange(200))
    short = dataclasses.replace(PLAIN, epochs=1)
    run(tmp_path / "one", short, part)
    run(tmp_path / "other", dataclasses.replace(short, learning_rate=2e-3), part)
    recipe = dataclasses.replace(short, distillation=0.5)
    held = run(tmp_path / "student", recipe, part, (tmp_path / "one",)).validation
    about = {"labels": LABELS, "dataset": "sample"}
    other = find_teachers(recipe, (tmp_path / "other",), LABELS)
    again = Training(
        recipe, part, held, tmp_path / "student", device=torch.device("cpu"), teachers=other, description=about
    )
    with pytest.raises(ConfigError, match="another teacher"):
        again.resume()


VIEWS = dataclasses.replace(
    PLAIN,
    distillation=1.0,
    stored_views=2,
    epochs=3,
    monitor="last",
    augmentation=Augmentation(shift=1, flip=0.5, erase=0.3, mixup=0.5),
)
"""A student that learns from the teachers' answers to two stored views."""


def stored(folder: Path, images: np.ndarray, *seeds: int) -> StoredViews:
    teachers = [load_checkpoint(small(folder / f"{seed}", seed)) for seed in seeds]
    pixels = torch.from_numpy(images).unsqueeze(1)
    return StoredViews(VIEWS, teachers, pixels, folder / "views", mixed_precision=False)


def test_a_stored_view_is_the_same_each_time_and_its_answers_are_the_teachers(tmp_path: Path) -> None:
    images = find_dataset("sample").load("train").images[:600]
    views = stored(tmp_path, images, 0, 1)
    first, other = views.load(0), views.load(1)
    torch.manual_seed(99)
    again = stored(tmp_path, images, 0, 1).load(0)
    assert torch.equal(first.images, again.images) and torch.equal(first.logits, again.logits)
    assert not torch.equal(first.images, other.images)
    changed = (first.images != torch.from_numpy(images).unsqueeze(1)).flatten(1).any(1)
    assert changed.float().mean() > 0.9
    alone = [predict_logits(load_checkpoint(tmp_path / f"{seed}").model, first.images[:, 0].numpy()) for seed in (0, 1)]
    assert np.allclose(first.logits, np.mean(alone, axis=0), atol=1e-4)


def test_answers_are_computed_once_and_belong_to_teachers_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = find_dataset("sample").load("train").images[:600]
    before = stored(tmp_path, images, 0).load(0).logits
    with monkeypatch.context() as patch:
        patch.setattr(ViewTeacher, "__call__", lambda *_: pytest.fail("computed again"))
        assert torch.equal(stored(tmp_path, images, 0).load(0).logits, before)
    assert not torch.equal(stored(tmp_path, images, 1).load(0).logits, before), "other teachers"
    assert not torch.equal(stored(tmp_path, images[::-1].copy(), 0).load(0).logits, before), "other images"


def test_answers_that_cannot_be_stored_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "views").touch()
    views = stored(tmp_path, find_dataset("sample").load("train").images[:300], 0)
    before = [views.load(number).logits for number in (0, 1)]
    monkeypatch.setattr(ViewTeacher, "__call__", lambda *_: pytest.fail("computed again"))
    assert all(torch.equal(views.load(number).logits, before[number]) for number in (0, 1))
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"the teachers' outputs are not kept for the next run ({tmp_path}/views")


@pytest.mark.parametrize("damage", ["cut", "empty", "other tensor", "fewer rows", "integers"])
def test_damaged_stored_logits_are_computed_again(damage: str, tmp_path: Path) -> None:
    images = find_dataset("sample").load("train").images[:300]
    expected = stored(tmp_path, images, 0).load(0).logits
    (path,) = (tmp_path / "views").iterdir()
    whole = path.read_bytes()
    if damage in ("cut", "empty"):
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    else:
        tensors, info = read_tensors(path)
        logits = tensors["logits"]
        changed = {"other tensor": logits, "fewer rows": logits[:-1].clone(), "integers": logits.to(torch.int32)}
        write_tensors(path, {"x" if damage == "other tensor" else "logits": changed[damage]}, info)
    assert torch.equal(stored(tmp_path, images, 0).load(0).logits, expected)
    assert path.read_bytes() == whole


def test_a_student_of_stored_views_learns_and_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    part = find_dataset("sample").load("train")
    run(tmp_path / "teacher", PLAIN, part)
    mislabeled = Split(part.images, (part.labels + 1) % 10)
    whole = run(tmp_path / "whole", VIEWS, mislabeled, (tmp_path / "teacher",))
    assert whole.best_epoch() == 3, "the last epoch, whichever was best"
    assert whole.history[-1].validation_accuracy is not None and whole.history[-1].validation_accuracy > 0.5
    halves = Training(
        VIEWS,
        mislabeled,
        whole.validation,
        tmp_path / "halves",
        device=torch.device("cpu"),
        teachers=find_teachers(VIEWS, [tmp_path / "teacher"], LABELS),
        description={"labels": LABELS, "dataset": "sample"},
    )
    with pytest.raises(KeyboardInterrupt):
        halves.run(lambda epoch: stop_after(2, epoch.epoch))
    halves.resume()
    halves.run()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, halves.model.state_dict()[name]), name


def stop_after(last: int, epoch: int) -> None:
    if epoch == last:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distillation": 0.0, "stored_views": 1}, "need a teacher"),
        ({"distillation": 1.0, "stored_views": 1, "targets": "soft"}, "teacher outputs for pairs"),
        ({"augmentation": Augmentation(mixup=0.5)}, "no labels of its own"),
        ({"distillation": 0.5, "augmentation": Augmentation(mixup=0.5)}, "no labels"),
    ],
)
def test_views_that_cannot_be_stored_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PLAIN, **changes)
