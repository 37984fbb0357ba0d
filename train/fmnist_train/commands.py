"""The functions behind ``fmnist-train explore``, ``evaluate``, ``compare`` and ``photos``, and the options that commands share."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fmnist_train.files import expand_path
from fmnist_train.options import current_recipe, path_option
from fmnist_train.recipes import DEFAULT_RECIPE, RECIPES

__all__ = ["Data", "DataFolder", "compare", "devices", "evaluate", "explore", "photos", "recipe_names"]


def recipe_names(beginning: str) -> list[str]:
    """Completes the name of a recipe."""
    return [name for name in sorted(RECIPES) if name.startswith(beginning)]


def data_names(beginning: str) -> list[str]:
    """Completes the name of a data set."""
    return [name for name in ("fashion-mnist", "sample") if name.startswith(beginning)]


def _current_recipes(names: list[str] | None) -> list[str]:
    return [current_recipe(name) for name in names or ()]


def devices(beginning: str) -> list[str]:
    """Completes the name of a device."""
    return [name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(beginning)]


Data = Annotated[
    str,
    typer.Option(
        help="fashion-mnist, sample (built in, needs no network), or a folder of class folders.",
        autocompletion=data_names,
    ),
]
DataFolder = Annotated[
    Path | None,
    path_option(help="Folder of the data set's files, IDX or CSV.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def explore(
    data: Data = "fashion-mnist",
    data_dir: DataFolder = None,
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the pictures.")] = Path("runs/explore"),
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe whose augmentation is shown.",
            autocompletion=recipe_names,
            callback=current_recipe,
        ),
    ] = DEFAULT_RECIPE,
    as_json: Json = False,
) -> None:
    """Describe a data set: counts, samples, mean images, pixels, and the images as training changes them."""
    from fmnist_train.data.sources import find_dataset
    from fmnist_train.evaluation.explore import explore_dataset
    from fmnist_train.recipes import get_recipe

    result = explore_dataset(find_dataset(data, data_dir), output, get_recipe(recipe).augmentation)
    if as_json:
        print(json.dumps(result))
        return
    print(f"{'class':<20} {'train':>7} {'test':>7}")
    for name, train, test in zip(result["labels"], result["counts"]["train"], result["counts"]["test"], strict=True):
        print(f"{name:<20} {train:>7,} {test:>7,}")
    print(f"\n{'stage':<12} {'shape':<18} {'type':<8} {'from':>8} {'to':>8} {'mean':>8} {'std':>8}")
    for row in result["transforms"]:
        shape = "×".join(map(str, row["shape"]))
        figures = " ".join(f"{row[key]:8.2f}" for key in ("min", "max", "mean", "std"))
        print(f"{row['stage']:<12} {shape:<18} {row['dtype']:<8} {figures}")
    print(f"pictures in {output}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="Run folder, checkpoint, or .onnx file.")],
    data: Data = "fashion-mnist",
    data_dir: DataFolder = None,
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
) -> None:
    """Test a model and explain its mistakes: a classification report, pictures, and one HTML report."""
    from fmnist_train.data.sources import find_dataset
    from fmnist_train.evaluation.evaluate import evaluate_model

    folder = output or (model if model.is_dir() else model.parent) / "evaluation"
    result = evaluate_model(model, find_dataset(data, data_dir), folder)
    if as_json:
        print(json.dumps(result))
        return
    print((folder / "classification_report.txt").read_text("utf-8"))
    pairs = ", ".join(f"{p['label']} as {p['predicted']} ({p['count']})" for p in result["test"]["most_confused"][:3])
    print(f"expected calibration error {result['test']['ece']:.2%}; most confused: {pairs or 'none'}")
    print(f"report: {folder / 'report.html'}")


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
    data: Data = "fashion-mnist",
    data_dir: DataFolder = None,
    runs: Annotated[Path, path_option(help="Folder of the runs; what is missing there is trained.")] = Path("runs"),
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the tables.")] = Path("runs/comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe, with seeds from 0.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Largest number of epochs.", show_default="the recipes'")
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Run folders with commas between; their averaged answer is a row. Repeatable."),
    ] = None,
    reuse_only: Annotated[
        bool,
        typer.Option("--reuse-only", help="Train nothing; recipes without a run keep their earlier row in the output."),
    ] = False,
    readme: Annotated[
        Path | None,
        path_option(help="Markdown file that gets the table between its marks.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train recipes, or reuse their finished runs, and write one table: Markdown, JSON and a picture."""
    from fmnist_train.evaluation.compare import Comparison, compare_recipes

    rows = compare_recipes(
        Comparison(
            names=tuple(names or ()),
            data=data,
            data_dir=data_dir,
            runs=runs,
            output=output,
            seeds=seeds,
            epochs=epochs,
            ensembles=tuple(tuple(expand_path(part) for part in group.split(",")) for group in ensemble or ()),
            reuse_only=reuse_only,
            readme=readme,
        )
    )
    print(json.dumps(rows) if as_json else (output / "comparison.md").read_text("utf-8"))


def photos(
    clone: Annotated[Path, typer.Argument(help="Clone of github.com/alexeygrigorev/clothing-dataset.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the table and the pictures.")],
) -> None:
    """Turn a clone of the public Clothing dataset (CC0) into the folder that --photos takes."""
    from fmnist_train.data.clothing_dataset import convert_clothing_dataset

    print(f"{convert_clothing_dataset(clone, folder):,} photos in {folder}")
