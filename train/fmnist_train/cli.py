"""The command ``fmnist-train``: parse, call one function, print."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_runtime.batching.cpus import MOST_THREADS
from fmnist_runtime.cli.console import run_app
from fmnist_runtime.errors import ConfigError

if TYPE_CHECKING:
    from fmnist_train.recipes import Recipe

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Train a network on Fashion-MNIST, or on a folder of your own images, and test it once.",
)

_RECIPE = "[default: the recipe's]"


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, show_default=False, **settings)


@app.callback()
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Option(help="Recipe by name; an unknown one lists those there are.")] = "improved",
    data: Annotated[
        str, typer.Option(help="fashion-mnist, sample (built in, needs no network), or a folder of class folders.")
    ] = "fashion-mnist",
    data_dir: Annotated[Path | None, _option(help="Where the data set's files lie, IDX or CSV.")] = None,
    output: Annotated[
        Path | None, _option("--output", "-o", help="Run folder. [default: runs/<recipe>-seed<n>]")
    ] = None,
    epochs: Annotated[int | None, _option(min=1, help=f"Most epochs. {_RECIPE}")] = None,
    batch_size: Annotated[int | None, _option(min=1, help=f"Images a step. {_RECIPE}")] = None,
    learning_rate: Annotated[float | None, _option("--learning-rate", "--lr", help=f"Peak rate. {_RECIPE}")] = None,
    validation: Annotated[
        float | None, _option(min=0, help=f"Held-out share (below 1) or number of training images. {_RECIPE}")
    ] = None,
    optimiser: Annotated[
        str | None, _option("--optimiser", "--optimizer", help=f"adam, adamw or sgd. {_RECIPE}")
    ] = None,
    weight_decay: Annotated[float | None, _option(min=0, help=f"Decay of the weights. {_RECIPE}")] = None,
    momentum: Annotated[float | None, _option(min=0, max=1, help=f"Of sgd. {_RECIPE}")] = None,
    scheduler: Annotated[str | None, _option(help=f"plateau, step, cosine, one-cycle or none. {_RECIPE}")] = None,
    warmup: Annotated[
        float | None, _option(min=0, help=f"Share of steps with a rising rate (cosine). {_RECIPE}")
    ] = None,
    scheduler_patience: Annotated[int | None, _option(min=0, help=f"Epochs before plateau cuts. {_RECIPE}")] = None,
    scheduler_factor: Annotated[float | None, _option(help=f"Of a cut, plateau or step. {_RECIPE}")] = None,
    scheduler_step: Annotated[int | None, _option(min=1, help=f"Epochs between cuts of step. {_RECIPE}")] = None,
    patience: Annotated[
        int | None, _option(min=0, help=f"Epochs without progress before stopping early; 0 never stops. {_RECIPE}")
    ] = None,
    min_delta: Annotated[float | None, _option(min=0, help=f"Least progress that counts. {_RECIPE}")] = None,
    monitor: Annotated[str | None, _option(help=f"What chooses the epoch: accuracy or loss. {_RECIPE}")] = None,
    label_smoothing: Annotated[float | None, _option(min=0, help=f"From 0 to below 1. {_RECIPE}")] = None,
    targets: Annotated[str | None, _option(help=f"indices, one-hot, or soft (pairs are mixed). {_RECIPE}")] = None,
    mix: Annotated[float | None, _option(help=f"How much soft targets mix. {_RECIPE}")] = None,
    distillation: Annotated[
        float | None, _option(min=0, max=1, help=f"Weight of a teacher's answers beside the labels. {_RECIPE}")
    ] = None,
    temperature: Annotated[float | None, _option(help=f"Of distillation. {_RECIPE}")] = None,
    teacher: Annotated[
        list[Path] | None,
        _option(help="Run folder or checkpoint to learn from; several are averaged. [default: the recipe's teacher]"),
    ] = None,
    teacher_sees: Annotated[
        str | None, _option(help=f"Images as they are, once, or views: each one that is learnt from. {_RECIPE}")
    ] = None,
    stored_views: Annotated[
        int | None, _option(min=0, help=f"Changed copies of the images, drawn once, that teachers answer. {_RECIPE}")
    ] = None,
    class_weights: Annotated[str | None, _option(help=f"One for each class, as in 1,1,2. {_RECIPE}")] = None,
    ema_decay: Annotated[
        float | None, _option(min=0, help=f"Of the average of the weights; 0: none. {_RECIPE}")
    ] = None,
    gradient_clip: Annotated[
        float | None, _option(min=0, help=f"Largest gradient norm; 0: no limit. {_RECIPE}")
    ] = None,
    rotation: Annotated[float | None, _option(help=f"Random turn, up to so many degrees. {_RECIPE}")] = None,
    translation: Annotated[float | None, _option(help=f"Random move, up to this share of the side. {_RECIPE}")] = None,
    shift: Annotated[int | None, _option(help=f"Random move, up to so many whole pixels. {_RECIPE}")] = None,
    scale: Annotated[str | None, _option(help=f"Range of a random zoom, as in 0.9,1.1. {_RECIPE}")] = None,
    flip: Annotated[float | None, _option(help=f"Share of images mirrored. {_RECIPE}")] = None,
    erase: Annotated[float | None, _option(help=f"Share of images that lose a rectangle. {_RECIPE}")] = None,
    photo: Annotated[float | None, _option(help=f"Share of images changed as by a photograph. {_RECIPE}")] = None,
    outliers: Annotated[
        float | None, _option(help=f"Made-up pictures of no garment, as a share of the batch. {_RECIPE}")
    ] = None,
    mixup: Annotated[float | None, _option(help=f"Share of images blended with another one. {_RECIPE}")] = None,
    model: Annotated[str | None, _option(help=f"Network by name. {_RECIPE}")] = None,
    channels: Annotated[str | None, _option(help="Of custom: convolutions, as in 32,64.")] = None,
    hidden: Annotated[str | None, _option(help="Of custom and feedforward: dense layers, as in 128.")] = None,
    widths: Annotated[
        str | None, _option(help="Of residual: channels on 28, 14 and 7 pixels, as in 32,64,120.")
    ] = None,
    dropout: Annotated[float | None, _option(help="Of all but improved, batchnorm and fashion.")] = None,
    kernel: Annotated[int | None, _option(help="Of custom: size of the convolutions, odd.")] = None,
    batch_norm: Annotated[bool | None, _option("--batch-norm/--no-batch-norm", help="Of custom.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    mixed_precision: Annotated[bool, typer.Option(help="bfloat16 where the processor has it.")] = True,
    threads: Annotated[int, typer.Option(min=0, max=MOST_THREADS, help="CPU threads; 0 leaves it to PyTorch.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events (extra).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train one recipe; the test set is read once, at the end, by the epoch that validation chose."""
    if context.invoked_subcommand:
        return
    import torch

    from fmnist_train.training.progress import Progress
    from fmnist_train.training.run import RunOptions
    from fmnist_train.training.run import train as train_run

    if threads:
        torch.set_num_threads(threads)
    chosen = _recipe(recipe, context.params)
    teachers = tuple(teacher or ())
    options = RunOptions(data, data_dir, output, seed, device, mixed_precision, resume, teachers, tensorboard)
    metrics = train_run(chosen, options, Progress(quiet=quiet))
    if metrics is not None:
        print(json.dumps(metrics) if as_json else _summary(metrics, options.folder(chosen)))


def _recipe(name: str, given: Mapping[str, Any]) -> "Recipe":
    """The recipe of that name with what the command line says otherwise; options that were not given are None.

    ``--teacher`` names a folder, not the recipe's field of that name.
    """
    from fmnist_train.recipes import Augmentation, Recipe, get_recipe

    network = {key: given[key] for key in ("dropout", "kernel", "batch_norm")}
    network |= {key: _numbers(given[key], int, key) for key in ("channels", "hidden", "widths")}
    changes = {key: given[key] for key in given if key in Recipe.__dataclass_fields__ and key != "teacher"}
    changes["class_weights"] = _numbers(given["class_weights"], float, "class-weights")
    recipe = get_recipe(name, network, **changes)
    images = {key: given[key] for key in given if key in Augmentation.__dataclass_fields__}
    images["scale"] = _numbers(given["scale"], float, "scale")
    images = {key: value for key, value in images.items() if value is not None}
    return dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, **images))


def _numbers(text: str | None, kind: type, option: str) -> tuple[Any, ...] | None:
    """``"32,64"`` as numbers; an empty text gives none."""
    try:
        return None if text is None else tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--{option} must be numbers with commas between, as in 32,64; not '{text}'") from None


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    test, validation = metrics["test"], metrics["validation"]["accuracy"]
    low, high = test["accuracy_interval"]
    return (
        f"test accuracy {test['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})"
        f"{f', validation {validation:.2%}' if validation is not None else ''}, "
        f"best epoch {metrics['epoch']} of {metrics['epochs_trained']}, {metrics['training_seconds']:.0f} s\n"
        f"written to {folder}"
    )


def main() -> None:
    """Entry point."""
    from fmnist_train import commands  # noqa: F401 (its commands register themselves)

    sys.exit(run_app(app, extra="train"))
