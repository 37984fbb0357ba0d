"""Command ``fmnist-export``; ``export`` is its default subcommand."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fmnist_export.settings import Calibration, Limits, QuantizationSettings, Target
from fmnist_runtime.errors import ConfigError
from fmnist_train.console import Version, run_typer
from fmnist_train.help_pages import Command, Group

__all__ = ["app", "main"]


class _DefaultExport(Group):
    """Runs ``export`` where the first argument is neither a subcommand nor an option of the group."""

    def parse_args(  # type: ignore[override]  # typer types the base by its private copy of click
        self, ctx: typer.Context, args: list[str]
    ) -> list[str]:
        """Insert the default subcommand, then parse."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if not args or (args[0] not in self.commands and args[0].partition("=")[0] not in own):
            args = ["export", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DefaultExport,
    pretty_exceptions_enable=False,
    help="Export a trained network to ONNX and evaluate the files. The default command is export.",
    epilog="fmnist-export export --help lists the options of the export.",
)

_LIMITS, _QUANTIZATION = Limits(), QuantizationSettings()
_INT8, _GATE, _FILES = "Int8 model", "Limits of int8 against PyTorch", "Files"
"""Titles of the help panels."""
_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_Data = Annotated[
    str, typer.Option(help="fashion-mnist, sample, or a folder of class folders.", rich_help_panel="Data")
]
_DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data set's files.", show_default=False, rich_help_panel="Data")
]
_File = Annotated[str, typer.Argument(metavar="FILE", help="Model file, folder, or name of an embedded model.")]


@app.callback()
def _group(version: Version = False) -> None:
    """The options of the command itself."""


@app.command(cls=Command, short_help="Export a trained network to ONNX.")
def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="Run folder or checkpoint.", show_default="the newest under runs/"),
    ] = None,
    quantize: Annotated[
        bool, typer.Option("--quantize", "--quantise", help="Also write an int8 model.", rich_help_panel=_INT8)
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the models.", show_default="export/ in the run", rich_help_panel=_FILES
        ),
    ] = None,
    data: _Data = "fashion-mnist",
    data_dir: _DataDir = None,
    max_drop: Annotated[
        float, typer.Option(help="Percentage points of accuracy that int8 may lose.", rich_help_panel=_GATE)
    ] = _LIMITS.max_drop,
    max_class_drop: Annotated[
        float, typer.Option(help="Percentage points that the worst class of int8 may lose.", rich_help_panel=_GATE)
    ] = _LIMITS.max_class_drop,
    min_agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of test images for which int8 must give PyTorch's class.", rich_help_panel=_GATE
        ),
    ] = _LIMITS.min_agreement,
    max_latency_ratio: Annotated[
        float,
        typer.Option(
            min=0,
            help="Limit of the ratio of int8 to float latency on this machine; 0: not measured.",
            rich_help_panel=_GATE,
        ),
    ] = _LIMITS.max_latency_ratio or 0,
    target: Annotated[
        Target,
        typer.Option(help="Processors: all (7-bit weights), or those with VNNI (8-bit).", rich_help_panel=_INT8),
    ] = Target(_QUANTIZATION.target),
    calibration: Annotated[
        Calibration, typer.Option(help="Method of the activation ranges.", rich_help_panel=_INT8)
    ] = Calibration(_QUANTIZATION.calibration),
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Number of training images for the calibration.", rich_help_panel=_INT8)
    ] = _QUANTIZATION.images,
    half: Annotated[
        bool,
        typer.Option(
            "--fp16", help="Also write a float16 model: half the size, no faster on x86-64.", rich_help_panel=_FILES
        ),
    ] = False,
    ort: Annotated[
        bool,
        typer.Option("--ort", help="Also write the models in onnxruntime's ORT format (.ort).", rich_help_panel=_FILES),
    ] = False,
    rescue: Annotated[
        bool,
        typer.Option(
            "--rescue",
            help="If int8 fails: try other calibrations, then the worst layers in float, then fine-tuning.",
            rich_help_panel=_INT8,
        ),
    ] = False,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence",
            help="Put checkpoint, metrics, history, plots and a model card beside the models.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Export a trained network to ONNX, after comparing the models with PyTorch on the test set.

    Exit code 3: a limit was exceeded; nothing is written.
    """
    from fmnist_export.formatting import format_export, format_step
    from fmnist_export.pipeline import ExportOptions
    from fmnist_export.pipeline import export as run_export
    from fmnist_train.checkpoint import find_checkpoint, newest_run

    quantization = QuantizationSettings(target.value, calibration.value, calibration_images)
    if not quantize and (rescue or quantization != _QUANTIZATION):
        raise ConfigError("--rescue, --target and --calibration are about the int8 model: add --quantize")
    run = checkpoint or newest_run()
    print(f"checkpoint: {find_checkpoint(run)}", file=sys.stderr)
    limits = dataclasses.replace(
        _LIMITS,
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        min_agreement=min_agreement,
        max_latency_ratio=max_latency_ratio or None,
    )
    options = ExportOptions(
        output=output,
        quantize=quantize,
        quantization=quantization,
        limits=limits,
        half=half,
        ort=ort,
        rescue=rescue,
        evidence=evidence,
        data=data,
        data_dir=data_dir,
    )
    report = run_export(run, options, lambda row: print(format_step(row), file=sys.stderr, flush=True))
    print(json.dumps(report) if as_json else f"{format_export(report)}; written to {report['folder']}")


@app.command(cls=Command, short_help="Print a model file's metadata and layers.")
def inspect(model: _File, as_json: _Json = False) -> None:
    """Print a model file's metadata, its layers, and which nodes run as integers on this processor."""
    from fmnist_export.formatting import format_inspection
    from fmnist_export.inspection import inspect_model

    found = inspect_model(model)
    print(json.dumps(found) if as_json else format_inspection(found))


@app.command(cls=Command, short_help="Compute a file's stated figures again.")
def verify(model: _File, data: _Data = "fashion-mnist", data_dir: _DataDir = None, as_json: _Json = False) -> None:
    """Compute the figures in a file's metadata again on this machine, from the file and the test images.

    Exit code 3: a figure differs.
    """
    from fmnist_export.formatting import format_claims
    from fmnist_export.verify import verify as run_verify
    from fmnist_runtime.errors import GateError
    from fmnist_train.data.sources import find_dataset

    claims = run_verify(model, find_dataset(data, data_dir))
    print(json.dumps([dataclasses.asdict(c) for c in claims]) if as_json else format_claims(claims), flush=True)
    wrong = [claim.name for claim in claims if not claim.holds]
    if wrong:
        raise GateError(f"{model}: figures in the metadata do not hold here: {', '.join(wrong)}")


@app.command(cls=Command, short_help="Write an int8 model as plain C99.")
def c(
    model: _File,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the C files.")],
    name: Annotated[str | None, typer.Option(help="Part of all C names.", show_default="the model's")] = None,
    data: _Data = "fashion-mnist",
    data_dir: _DataDir = None,
    as_json: _Json = False,
) -> None:
    """Write an int8 model as plain C99, after comparing all its logits with onnxruntime.

    Exit code 3: a logit differs; nothing is written.
    """
    from fmnist_export.c.pipeline import find_source, write_c
    from fmnist_train.data.sources import find_dataset

    path, chosen = find_source(model, name)
    written = write_c(path, chosen, output, find_dataset(data, data_dir).load("test").images)
    if not written.images:
        print("note: no C compiler was found, so the C was not compared with onnxruntime", file=sys.stderr)
    print(json.dumps(dataclasses.asdict(written), default=str) if as_json else written.summary())


@app.command(cls=Command, short_help="Copy a model into the runtime package.")
def publish(
    name: Annotated[str, typer.Argument(help="Name of the model: that of its folder.")],
    artifacts: Annotated[Path, typer.Option(help="Folder of the model folders.")] = Path("artifacts"),
) -> None:
    """Copy a checked int8 model from the artifacts into the runtime package, where its name selects it."""
    from fmnist_export.artifacts import publish_model

    print(f"{publish_model(artifacts / name)}: written")


def main() -> None:
    """Entry point."""
    sys.exit(run_typer(app, extra="export"))
