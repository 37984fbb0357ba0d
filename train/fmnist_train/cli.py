"""The command ``fmnist-train``: parse, call one function, print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.console import run_app

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
    patience: Annotated[
        int | None, _option(min=0, help=f"Epochs without progress before stopping early; 0 never stops. {_RECIPE}")
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
    chosen = get_recipe(
        recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation=validation,
        patience=patience,
    )
    options = RunOptions(data, data_dir, output, seed, device, mixed_precision, resume)
    metrics = train_run(chosen, options, Progress(quiet=quiet))
    print(json.dumps(metrics) if as_json else _summary(metrics, options.folder(chosen)))


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
    sys.exit(run_app(app, extra="train"))
