"""The sub-commands ``fmnist-train compare``, ``explore`` and ``evaluate``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fmnist_train.cli import app

__all__: list[str] = []

_Data = Annotated[str, typer.Option(help="fashion-mnist, sample, or a folder of class folders.")]
_DataDir = Annotated[Path | None, typer.Option(help="Where the data set's files lie.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


@app.command()
def explore(
    data: _Data = "fashion-mnist",
    data_dir: _DataDir = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pictures.")] = Path("runs/explore"),
    recipe: Annotated[str, typer.Option(help="Whose augmentation is shown.")] = "improved",
    as_json: _Json = False,
) -> None:
    """Show what the data looks like: counts, samples, mean images, pixels, and what training makes of them."""
    from fmnist_train.data.sources import find_dataset
    from fmnist_train.evaluation.explore import explore as run_explore
    from fmnist_train.recipes import get_recipe

    result = run_explore(find_dataset(data, data_dir), output, get_recipe(recipe).augmentation)
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


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Run folder, checkpoint, or .onnx file.")],
    data: _Data = "fashion-mnist",
    data_dir: _DataDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="[default: evaluation/ beside the model]", show_default=False)
    ] = None,
    as_json: _Json = False,
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


@app.command()
def compare(
    names: Annotated[
        list[str] | None, typer.Argument(help="Recipes. [default: the seven published ones]", show_default=False)
    ] = None,
    data: _Data = "fashion-mnist",
    data_dir: _DataDir = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs; what is missing there is trained.")] = Path("runs"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the tables.")] = Path("runs/comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe, with seeds from 0.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs. [default: the recipes']")] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Run folders with commas between: their averaged answer as a row. Repeatable."),
    ] = None,
    reuse_only: Annotated[
        bool,
        typer.Option("--reuse-only", help="Train nothing; recipes without a run keep their earlier row in the output."),
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Markdown file that gets the table between its marks.", show_default=False)
    ] = None,
    as_json: _Json = False,
) -> None:
    """Train recipes, or reuse their finished runs, and write one table: Markdown, JSON and a picture."""
    from fmnist_train.evaluation.compare import Comparison
    from fmnist_train.evaluation.compare import compare as run_compare

    groups = tuple(tuple(Path(part) for part in group.split(",")) for group in ensemble or ())
    settings = Comparison(tuple(names or ()), data, data_dir, runs, output, seeds, epochs, groups, reuse_only, readme)
    rows = run_compare(settings)
    print(json.dumps(rows) if as_json else (output / "comparison.md").read_text("utf-8"))
