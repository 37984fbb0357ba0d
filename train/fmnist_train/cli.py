"""The command ``fmnist-train``: parse, call one function, print."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_train import commands
from fmnist_train.console import Version, run_typer
from fmnist_train.help_pages import Command, Group
from fmnist_train.options import (
    Quiet,
    chosen_settings,
    current_recipe,
    path_option,
    recipe_names,
    refuse_options,
    with_settings,
)
from fmnist_train.recipes import DEFAULT_RECIPE, Augmentation, NetworkOptions, Recipe, get_recipe
from fmnist_train.recipes import save_recipe as write_recipe
from fmnist_train.run_options import DataOptions, RunOptions

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Group,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    help="Train a network on Fashion-MNIST, or on a folder of your own images, and test it once.\n\n"
    "Options that are not given keep the values of the recipe and of its network.",
)


def train(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe by name, or a recipe file (.json); an unknown name lists the known ones.",
            autocompletion=recipe_names,
            callback=current_recipe,
            rich_help_panel="Recipe",
        ),
    ] = DEFAULT_RECIPE,
    save_recipe: Annotated[
        Path | None,
        path_option(
            help="Write the recipe, with the given options, to this file, and train nothing.",
            show_default=False,
            rich_help_panel="Recipe",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
    quiet: Quiet = False,
    version: Version = False,
    **settings: Any,
) -> None:
    """Train one recipe; the test set is read once, at the end, by the epoch that validation chose."""
    if context.invoked_subcommand:
        refuse_options(context, context.invoked_subcommand)
        return
    chosen = _change_recipe(recipe, settings)
    options = RunOptions(**chosen_settings(RunOptions, settings))
    if save_recipe is not None:
        from fmnist_train.models import check_options

        check_options(chosen.model, **chosen.model_options)
        write_recipe(dataclasses.replace(chosen, name=save_recipe.stem), save_recipe)
        print(f"written to {save_recipe}; train it with: {options.command(save_recipe)}")
        return
    from fmnist_train.training.progress import Progress
    from fmnist_train.training.run import train as train_run

    metrics = train_run(chosen, options, Progress(quiet=quiet))
    if metrics is not None:
        print(json.dumps(metrics) if as_json else _summary(metrics, options.folder(chosen)))


def _change_recipe(name: str, given: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of that name with the given options in place of its own."""
    image_changes = chosen_settings(Augmentation, given)
    augmentation = dataclasses.replace(get_recipe(name).augmentation, **image_changes)
    changes = chosen_settings(Recipe, given) | ({"augmentation": augmentation} if image_changes else {})
    return get_recipe(name, chosen_settings(NetworkOptions, given), **changes)


def _summary(metrics: dict[str, Any], folder: Path) -> str:
    test, validation = metrics["test"], metrics["validation"]["accuracy"]
    low, high = test["accuracy_interval"]
    return (
        f"test accuracy {test['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})"
        f"{f', validation {validation:.2%}' if validation is not None else ''}, "
        f"best epoch {metrics['epoch']} of {metrics['epochs_trained']}, {metrics['training_seconds']:.0f} s\n"
        f"written to {folder}"
    )


app.callback()(with_settings(train, RunOptions, Recipe, Augmentation, NetworkOptions))
app.command("explore", cls=Command)(with_settings(commands.explore, DataOptions))
app.command("evaluate", cls=Command)(with_settings(commands.evaluate, DataOptions))
app.command("tune", cls=Command)(with_settings(commands.tune, RunOptions, without=("resume", "tensorboard")))
app.command("average", cls=Command)(with_settings(commands.average, DataOptions))
app.command("compare", cls=Command)(with_settings(commands.compare, DataOptions))
app.command("photos", cls=Command)(commands.photos)


def main() -> None:
    """Entry point."""
    sys.exit(run_typer(app, extra="train"))
