"""The functions behind the subcommands of ``fmnist-train``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.console import counted
from fmnist_runtime.errors import MissingExtraError, extra_hint
from fmnist_runtime.files import parse_path
from fmnist_train.options import Json, Quiet, chosen_settings, current_recipe, path_argument, path_option, recipe_names
from fmnist_train.recipes import DEFAULT_RECIPE
from fmnist_train.run_options import DataOptions, RunOptions

__all__ = ["average", "compare", "evaluate", "explore", "photos", "tune"]


def _current_recipes(names: list[str] | None) -> list[str]:
    return [current_recipe(name) for name in names or ()]


def explore(
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the plots.")] = Path("runs/explore"),
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe whose augmentation is shown.",
            autocompletion=recipe_names,
            callback=current_recipe,
        ),
    ] = DEFAULT_RECIPE,
    as_json: Json = False,
    **data: Any,
) -> None:
    """Describe a data set: counts, samples, mean images, pixels, and the images as training changes them."""
    from fmnist_train.data.sources import find_dataset, refuse_as_output
    from fmnist_train.evaluation.explore import explore_dataset
    from fmnist_train.recipes import get_recipe

    chosen = chosen_settings(DataOptions, data)
    refuse_as_output(output, DataOptions(**chosen).data)
    result = explore_dataset(find_dataset(**chosen), output, get_recipe(recipe).augmentation)
    print(json.dumps(result) if as_json else f"{_dataset_tables(result)}\nplots in {output}")


def _dataset_tables(result: dict[str, Any]) -> str:
    lines = [f"{'class':<20} {'train':>7} {'test':>7}"]
    for name, train, test in zip(result["labels"], result["counts"]["train"], result["counts"]["test"], strict=True):
        lines.append(f"{name:<20} {train:>7,} {test:>7,}")
    lines.append(f"\n{'stage':<12} {'shape':<18} {'type':<8} {'from':>8} {'to':>8} {'mean':>8} {'std':>8}")
    for row in result["transforms"]:
        shape = "×".join(map(str, row["shape"]))
        figures = " ".join(f"{row[key]:8.2f}" for key in ("min", "max", "mean", "std"))
        lines.append(f"{row['stage']:<12} {shape:<18} {row['dtype']:<8} {figures}")
    return "\n".join(lines)


def evaluate(
    model: Annotated[Path, path_argument("MODEL", help="Run folder, checkpoint, or .onnx file.")],
    output: Annotated[
        Path | None,
        path_option(
            "--output",
            "-o",
            help="Folder of the report.",
            show_default="evaluation/ beside the model",
        ),
    ] = None,
    as_json: Json = False,
    **data: Any,
) -> None:
    """Test a model and analyze its errors: a classification report, plots, and one HTML report."""
    from fmnist_train.data.sources import find_dataset, refuse_as_output
    from fmnist_train.evaluation.evaluate import evaluate_model

    folder = output or (model if model.is_dir() else model.parent) / "evaluation"
    chosen = chosen_settings(DataOptions, data)
    refuse_as_output(folder, DataOptions(**chosen).data)
    result = evaluate_model(model, find_dataset(**chosen), folder)
    if as_json:
        print(json.dumps(result))
        return
    print((folder / "classification_report.txt").read_text("utf-8"))
    pairs = ", ".join(f"{p['label']} as {p['predicted']} ({p['count']})" for p in result["test"]["most_confused"][:3])
    print(f"expected calibration error {result['test']['ece']:.2%}; most confused: {pairs or 'none'}")
    print(f"report: {folder / 'report.html'}")


def tune(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Recipe by name, or a recipe file (.json).", autocompletion=recipe_names, callback=current_recipe
        ),
    ],
    trials: Annotated[
        int,
        typer.Option(
            min=1, help="Trials of the study in total, over all starts and processes.", rich_help_panel="Study"
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Largest number of epochs of a trial.", show_default="the recipe's", rich_help_panel="Study"
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share or number of training images held out.", show_default="the recipe's", rich_help_panel="Study"
        ),
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            help="Fields to search, separated by commas.", show_default="all with a range", rich_help_panel="Study"
        ),
    ] = "",
    prune_after: Annotated[
        int,
        typer.Option(
            min=1, help="Complete trials before pruning ends those below the median.", rich_help_panel="Study"
        ),
    ] = 5,
    output: Annotated[
        Path | None,
        path_option(
            "--output",
            "-o",
            help="Folder of the study.",
            show_default="runs/tune-<recipe>[-<data>]",
            rich_help_panel="Study",
        ),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(
            help="URL of a database that machines share.",
            show_default="study.db in the folder",
            rich_help_panel="Study",
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Search for better values of a recipe's fields by validation.

    Run the command again to continue, or elsewhere to join.
    """
    from fmnist_train.recipes import get_recipe

    base, chosen = get_recipe(recipe), get_recipe(recipe, epochs=epochs, validation=validation)
    try:
        import optuna  # noqa: F401 (for the message)
    except ImportError as error:
        raise MissingExtraError(f"tune needs: {extra_hint('tune')}") from error
    from fmnist_train.tuning.progress import TuningProgress
    from fmnist_train.tuning.study import TuningOptions, tune

    run = RunOptions(output=output, **chosen_settings(RunOptions, settings))
    fields = tuple(name.strip().replace("-", "_") for name in only.split(",") if name.strip())
    options = TuningOptions(
        trials, run, only=fields, prune_after=prune_after, storage=storage, final_epochs=base.epochs
    )
    results = tune(chosen, options, TuningProgress(quiet=quiet))
    print(json.dumps(results) if as_json else _best(results))


def _best(results: dict[str, Any]) -> str:
    best, counts, short = results["best"], results["trials"], results["trial_epochs"]
    shorter = f" (a trial: {short})" if short != results["epochs"] else ""
    return (
        f"best validation accuracy {best['accuracy']:.2%} (trial {best['trial']}), of {counts['complete']} complete, "
        f"{counts['pruned']} pruned and {counts['failed']} failed trials\n"
        f"written to {results['recipe']}; train it with: {results['command']}\n"
        f"It trains for {counted(results['epochs'], 'epoch')}, as the recipe did before{shorter}; --epochs changes that.\n"
        f"page: {results['history']}"
    )


def average(
    runs: Annotated[list[Path], path_argument("RUN...", help="Folders of finished runs that differ in their seeds.")],
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the average.")],
    photos: Annotated[
        Path | None, path_option(help="Folder of labeled photos, if the runs learned from photos.", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    **data: Any,
) -> None:
    """Average the weights of fine-tuned runs from the same first weights, and test the average once."""
    from fmnist_train.training.average import AverageOptions, average_runs
    from fmnist_train.training.progress import Progress

    options = AverageOptions(DataOptions(**chosen_settings(DataOptions, data)), photos)
    metrics = average_runs(runs, output, options, Progress(quiet=quiet))
    if as_json:
        print(json.dumps(metrics))
        return
    average_row = {
        "seed": "average",
        "validation": metrics["validation"]["accuracy"],
        "test": metrics["test"]["accuracy"],
    }
    print(f"{'seed':>7} {'validation':>10} {'test':>7}")
    for row in (*metrics["averaged"], average_row):
        validation = "–" if row["validation"] is None else f"{row['validation']:.2%}"
        print(f"{row['seed']:>7} {validation:>10} {row['test']:>7.2%}")
    print(f"written to {output}")


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recipes.",
            show_default="the seven published ones",
            autocompletion=recipe_names,
            callback=_current_recipes,
        ),
    ] = None,
    runs: Annotated[Path, path_option(help="Folder of the runs; missing runs are trained there.")] = Path("runs"),
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the tables.")] = Path("runs/comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe, with seeds from 0.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Largest number of epochs.", show_default="the recipes'")
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Run folders, separated by commas; their mean probabilities give one row. Repeatable."),
    ] = None,
    reuse_only: Annotated[
        bool,
        typer.Option("--reuse-only", help="Train nothing; recipes without a run keep their earlier row in the output."),
    ] = False,
    readme: Annotated[
        Path | None,
        path_option(help="Markdown file into which the table is written, between its markers.", show_default=False),
    ] = None,
    as_json: Json = False,
    **data: Any,
) -> None:
    """Train recipes, or reuse their finished runs, and write one table as Markdown and JSON, and a plot."""
    from fmnist_train.comparison.compare import Comparison, compare_recipes

    rows = compare_recipes(
        Comparison(
            names=tuple(names or ()),
            runs=runs,
            output=output,
            seeds=seeds,
            epochs=epochs,
            ensembles=tuple(tuple(parse_path(part) for part in group.split(",")) for group in ensemble or ()),
            reuse_only=reuse_only,
            readme=readme,
            **chosen_settings(DataOptions, data),
        )
    )
    print(json.dumps(rows) if as_json else (output / "comparison.md").read_text("utf-8"))


def photos(
    clone: Annotated[Path, path_argument("CLONE", help="Clone of github.com/alexeygrigorev/clothing-dataset.")],
    folder: Annotated[Path, path_argument("FOLDER", help="Folder for the table and the photos.")],
) -> None:
    """Convert a clone of the public Clothing dataset (CC0) to the folder that --photos takes."""
    from fmnist_train.data.clothing_dataset import convert_clothing_dataset

    print(f"{counted(convert_clothing_dataset(clone, folder), 'photo')} in {folder}")
