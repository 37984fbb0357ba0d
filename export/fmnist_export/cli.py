"""The command ``fmnist-export``: parse, call one function, print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_runtime.console import run_app

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

_NAMES = {"pytorch": "PyTorch", "float32": "ONNX float", "int8": "ONNX int8"}


@app.command()
def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="Run folder or checkpoint. [default: the newest under runs/]", show_default=False),
    ] = None,
    quantise: Annotated[bool, typer.Option("--quantize", "--quantise", help="Write an int8 model, too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder. [default: export/ in the run]", show_default=False)
    ] = None,
    data: Annotated[str, typer.Option(help="fashion-mnist, sample, or a folder of class folders.")] = "fashion-mnist",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data set's files lie.", show_default=False)] = None,
    max_drop: Annotated[float, typer.Option(help="Points of accuracy that int8 may lose.")] = 0.2,
    target: Annotated[str, typer.Option(help="portable (7-bit weights) or vnni (8-bit).")] = "portable",
    calibration: Annotated[str, typer.Option(help="minmax, percentile or entropy.")] = "minmax",
    calibration_images: Annotated[int, typer.Option(min=1, help="Training images to calibrate with.")] = 1024,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Copy checkpoint, metrics, history and pictures beside the models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Export a trained network to ONNX, and prove on the test set that it answers as PyTorch does.

    Exit code 3: the proof failed; earlier files are untouched.
    """
    from fmnist_export.export import ExportOptions, copy_evidence
    from fmnist_export.export import export as run_export
    from fmnist_export.gate import Limits
    from fmnist_export.quantise import Quantisation
    from fmnist_train.checkpoint import newest_run

    run = checkpoint or newest_run()
    options = ExportOptions(
        output,
        quantise,
        Quantisation(target, calibration, calibration_images),
        Limits(max_drop=max_drop),
        data=data,
        data_dir=data_dir,
    )
    report = run_export(run, options)
    if evidence:
        copy_evidence(run if run.is_dir() else run.parent, Path(report["folder"]))
    print(json.dumps(report) if as_json else _table(report))


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{'':<11} {'accuracy':>8}  {'95% interval':<17} {'agreement':>9}  {'largest logit difference':>24}  {'size':>9}"
    ]
    for name, figures in report["accuracy"].items():
        low, high = figures["interval"]
        line = f"{_NAMES[name]:<11} {figures['accuracy']:8.2%}  {f'{low:.2%} to {high:.2%}':<17}"
        if name in report["comparisons"]:
            against = report["comparisons"][name]
            size = report["files"][name]["bytes"] / 1000
            line += f" {against['agreement']:9.2%}  {against['max_logit_difference']:24.2g}  {size:6.0f} kB"
        lines.append(line)
    images = next(iter(report["accuracy"].values()))["images"]
    return "\n".join([*lines, f"on {images:,} test images; passed; written to {report['folder']}"])


def main() -> None:
    """Entry point."""
    sys.exit(run_app(app, extra="export"))
