"""The command ``fmnist-train``: parse, call one function, print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.console import run_app

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    help="Train a network on Fashion-MNIST (or a folder of your own images) and test it once.",
)


@app.callback()
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Option(help="Recipe by name; an unknown one lists those there are.")] = "improved",
    data: Annotated[
        str, typer.Option(help="fashion-mnist, sample (built in, needs no network), or a folder of class folders.")
    ] = "fashion-mnist",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data set's files lie, IDX or CSV.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run. [default: runs/<recipe>-seed<seed>]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs. [default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step. [default: the recipe's]")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Peak learning rate. [default: the recipe's]")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(min=0, help="Held-out share (below 1) or number of training images. [default: the recipe's]"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs without progress before stopping; 0 never. [default: the recipe's]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    mixed_precision: Annotated[bool, typer.Option(help="bfloat16 where the processor has it.")] = True,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to PyTorch.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train one recipe; the test set is read once, at the end, by the epoch that validation chose."""
    if context.invoked_subcommand:
        return
    import torch

    from fmnist_train.progress import Progress
    from fmnist_train.recipes import get_recipe
    from fmnist_train.run import RunOptions
    from fmnist_train.run import train as train_run

    if threads:
        torch.set_num_threads(threads)
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "validation": validation,
        "patience": patience,
    }
    chosen = get_recipe(recipe, **changes)
    options = RunOptions(data, data_dir, output, seed, device, mixed_precision, resume)
    metrics = train_run(chosen, options, Progress(quiet=quiet))
    print(json.dumps(metrics) if as_json else _summary(metrics, options.folder(chosen)))


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    test = metrics["test"]
    low, high = test["accuracy_interval"]
    return (
        f"test accuracy {test['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}), "
        f"validation {metrics['validation']['accuracy'] or float('nan'):.2%}, best epoch {metrics['epoch']} of "
        f"{metrics['epochs_trained']}, {metrics['training_seconds']:.0f} s\nwritten to {folder}"
    )


def main() -> None:
    """Entry point."""
    sys.exit(run_app(app, extra="train"))
