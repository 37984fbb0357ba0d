"""Command ``fmnist-export``; ``export`` is its default subcommand."""

import dataclasses
import json
import sys
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_export.settings import ExportOptions, Limits, QuantizationSettings
from fmnist_runtime.errors import ConfigError
from fmnist_runtime.options import order_error
from fmnist_train.console import Version, run_typer
from fmnist_train.help_pages import Command, Group
from fmnist_train.options import chosen_settings, path_argument, path_option, with_settings
from fmnist_train.run_options import DataOptions

__all__ = ["app", "main"]


class _DefaultExport(Group):
    """Runs ``export`` where the first argument is neither a subcommand nor an option of the group."""

    def parse_args(  # type: ignore[override]  # typer types the base by its private copy of click
        self, ctx: typer.Context, args: list[str]
    ) -> list[str]:
        """Inserts the default subcommand, then parses.

        Raises:
            ConfigError: Options stand before a subcommand.
            typer's usage error: A subcommand is misspelled, or as for any command.
        """
        if args and args[0].isalpha() and args[0] not in self.commands and not Path(args[0]).exists():
            for near in get_close_matches(args[0], self.commands, 1, 0.75):
                ctx.fail(f"no such command '{args[0]}'. Did you mean '{near}'?")
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if not args or (args[0] not in self.commands and args[0].partition("=")[0] not in own):
            if late := self._find_late_command(args):
                raise order_error(f"{ctx.command_path} {late}", [args[0].partition("=")[0]])
            args = ["export", *args]
        return super().parse_args(ctx, args)

    def _find_late_command(self, args: list[str]) -> str | None:
        """Returns the subcommand that stands behind options, if there is one; the values of options do not count."""
        if not args or not args[0].startswith("-"):
            return None
        options = self.commands["export"].params
        flags = {name for option in options if getattr(option, "is_flag", False) for name in option.opts}
        for before, word in pairwise(args):
            has_value = before.startswith("-") and "=" not in before and before not in flags
            if word in self.commands and not has_value and not Path(word).exists():
                return word
        return None


app = typer.Typer(
    cls=_DefaultExport,
    pretty_exceptions_enable=False,
    help="Export a trained network to ONNX and evaluate the files. The default command is export.",
    epilog="fmnist-export export --help lists the options of the export.",
)

_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_File = Annotated[str, typer.Argument(metavar="FILE", help="Model file, folder, or name of an embedded model.")]


@app.callback()
def _group(version: Version = False) -> None:
    """Adds the options of the command itself."""


def export(
    checkpoint: Annotated[
        Path | None,
        path_argument("CHECKPOINT", help="Run folder or checkpoint.", show_default="the newest under runs/"),
    ] = None,
    as_json: _Json = False,
    **settings: Any,
) -> None:
    """Export a trained network to ONNX, after comparing the models with PyTorch on the test set.

    The exit code is 3 if a limit is exceeded; then nothing is written.
    """
    options = ExportOptions(
        quantization=QuantizationSettings(**chosen_settings(QuantizationSettings, settings)),
        limits=Limits(**chosen_settings(Limits, settings)),
        **chosen_settings(ExportOptions, settings),
    )
    if not options.quantize and (options.rescue or options.quantization != QuantizationSettings()):
        raise ConfigError("--rescue, --target and --calibration apply to the int8 model only: add --quantize")
    from fmnist_export.evidence import has_card
    from fmnist_export.formatting import format_export, format_step
    from fmnist_export.pipeline import export as run_export
    from fmnist_train.checkpoint import find_checkpoint, newest_run

    run = checkpoint or newest_run()
    print(f"checkpoint: {find_checkpoint(run)}", file=sys.stderr)
    report = run_export(run, options, lambda row: print(format_step(row), file=sys.stderr, flush=True))
    if report["removed"]:
        print(f"removed, of other weights: {', '.join(report['removed'])}", file=sys.stderr)
    has_figures = has_card(Path(report["folder"]))
    if options.evidence and not has_figures:
        print("note: no model card, because the run has no metrics.json", file=sys.stderr)
    if not options.evidence and has_figures:
        print(
            "note: README.md and metrics.json are of an earlier export; --evidence writes them again", file=sys.stderr
        )
    print(json.dumps(report) if as_json else f"{format_export(report)}; written to {report['folder']}")


app.command(cls=Command, short_help="Export a trained network to ONNX.")(
    with_settings(export, ExportOptions, QuantizationSettings, Limits)
)


@app.command(cls=Command, short_help="Print a model file's metadata and layers.")
def inspect(model: _File, as_json: _Json = False) -> None:
    """Print a model file's metadata, its layers, and the nodes that run as integers on this processor."""
    from fmnist_export.formatting import format_inspection
    from fmnist_export.inspection import inspect_model

    found = inspect_model(model)
    print(json.dumps(found) if as_json else format_inspection(found))


def verify(model: _File, as_json: _Json = False, **data: Any) -> None:
    """Compute the figures in a file's metadata again on this machine, from the file and the test images.

    The exit code is 3 if a figure differs.
    """
    from fmnist_export.formatting import format_claims
    from fmnist_export.verify import verify as run_verify
    from fmnist_runtime.errors import GateError
    from fmnist_train.data.sources import find_dataset

    claims = run_verify(model, find_dataset(**chosen_settings(DataOptions, data)))
    print(json.dumps([dataclasses.asdict(c) for c in claims]) if as_json else format_claims(claims), flush=True)
    wrong = [claim.name for claim in claims if not claim.holds]
    if wrong:
        raise GateError(f"{model}: figures in the metadata do not hold here: {', '.join(wrong)}")


app.command(cls=Command, short_help="Compute a file's stated figures again.")(with_settings(verify, DataOptions))


def c(
    model: _File,
    output: Annotated[Path, path_option("--output", "-o", help="Folder of the C files.")],
    name: Annotated[str | None, typer.Option(help="Part of all C names.", show_default="the model's")] = None,
    as_json: _Json = False,
    **data: Any,
) -> None:
    """Write an int8 model as plain C99, after comparing all its logits with onnxruntime.

    The exit code is 3 if a logit differs; then nothing is written.
    """
    from fmnist_export.c.pipeline import find_source, write_c
    from fmnist_train.data.sources import find_dataset

    path, chosen = find_source(model, name)
    written = write_c(path, chosen, output, find_dataset(**chosen_settings(DataOptions, data)).load("test").images)
    if not written.images:
        print("note: no C compiler was found, so the C was not compared with onnxruntime", file=sys.stderr)
    print(json.dumps(dataclasses.asdict(written), default=str) if as_json else written.summary())


app.command(cls=Command, short_help="Write an int8 model as plain C99.")(with_settings(c, DataOptions))


@app.command(cls=Command, short_help="Embed a model in the runtime package.")
def publish(
    name: Annotated[str, typer.Argument(help="Name of the model: that of its folder.")],
    artifacts: Annotated[Path, path_option(help="Folder of the model folders.")] = Path("artifacts"),
) -> None:
    """Check an int8 model of the artifacts, and embed it in the runtime package under its name."""
    from fmnist_export.artifacts import publish_model
    from fmnist_runtime.model_file.store import ARTIFACTS

    elsewhere = (artifacts / name).resolve().parent != ARTIFACTS.resolve()
    if len(name.split()) != 1 or ((artifacts / name).is_dir() and elsewhere):
        raise ConfigError(
            f"the package has models of {ARTIFACTS} alone, whose names have no spaces: copy the folder there"
        )
    path = publish_model(artifacts / name)
    print(f"{path}: embedded as {path.parent.resolve().name}")


def main() -> None:
    """Entry point."""
    sys.exit(run_typer(app, extra="export"))
