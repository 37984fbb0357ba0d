"""The command ``fmnist-infer``: parse, call, print. Everything heavy is imported inside, so ``--help`` is instant."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fmnist_runtime.console import run_app

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def infer(
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="PHOTO...", help="Picture files, folders (searched through), or -.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model file, folder, or embedded model by name.", show_default="improved")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many of the most probable classes to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a picture, a line each.")] = False,
    reject: Annotated[bool, typer.Option(help="Answer I don't know to what looks like no garment.")] = True,
    careful: Annotated[
        bool, typer.Option("--careful", help="Average several views: slower, more often right.")
    ] = False,
    show: Annotated[
        Path | None, typer.Option(help="Folder for pictures of what the network saw.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one model call.")] = 1,
    provider: Annotated[str, typer.Option(help="onnxruntime execution provider, used or refused.")] = "cpu",
    sha256: Annotated[str | None, typer.Option(help="Refuse any model file but this one.", show_default=False)] = None,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Check that this device computes what the model's author did.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Say what garment a picture shows, or that it shows none that the model knows."""
    if version:
        import fmnist_runtime

        print(fmnist_runtime.__version__)
        return 0
    if not photos and not selftest:
        raise typer.BadParameter("name at least one picture or folder, or - for standard input", param_hint="PHOTO")
    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(model, threads=threads, provider=provider, sha256=sha256, careful=careful)
    if selftest:
        from fmnist_runtime.report import print_selftest

        return print_selftest(classifier, as_json=as_json)
    from fmnist_runtime.report import print_predictions
    from fmnist_runtime.stream import classify_all

    answers = classify_all(classifier, photos or [], top_k=top_k, reject=reject, show=show)
    return print_predictions(answers, as_json=as_json)


def main() -> None:
    """Entry point."""
    sys.exit(run_app(app))
