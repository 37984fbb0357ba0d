"""The command ``fmnist-infer``: parse, call, print. Everything heavy is imported inside, so ``--help`` is instant."""

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

from fmnist_runtime.batching.cpus import MOST_PROCESSES, MOST_THREADS
from fmnist_runtime.cli.console import run_app
from fmnist_runtime.cli.options import Options, positive, up_to

if TYPE_CHECKING:
    from fmnist_runtime.prediction import Answer

__all__ = ["infer", "main", "options"]


def options() -> Options:
    """The options of ``fmnist-infer``."""
    parser = Options(
        prog="fmnist-infer",
        description="Say what garment a picture shows, or that it shows none that the model knows.",
    )
    add = parser.add_argument
    add("photos", metavar="PHOTO", nargs="*", help="picture files, folders (searched through), or - for standard input")
    add("--model", help="model file, folder, or embedded model by name (default: improved)")
    add("--top-k", type=positive, default=3, metavar="N", help="how many classes to show (default: 3)")
    add("--json", action="store_true", help="one JSON object a picture, a line each")
    add(
        "--reject",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="answer I don't know to what looks like no garment (default: yes)",
    )
    add("--careful", action="store_true", help="average four views: slower, refuses more of what is no garment")
    add("--show", type=Path, metavar="DIR", help="folder for pictures of what the network saw")
    add(
        "--web", type=Path, metavar="DIR", help="write a page that classifies in the browser, with this model, and stop"
    )
    add("--threads", type=up_to(MOST_THREADS), default=1, metavar="N", help="threads of one model call (default: 1)")
    add(
        "--workers",
        type=up_to(MOST_PROCESSES),
        metavar="N",
        help="processes for many pictures (default: one for each processor allowed, from 500 on); 1: one thread",
    )
    add("--provider", default="cpu", help="onnxruntime execution provider, used or refused (default: cpu)")
    add("--sha256", metavar="HASH", help="refuse any model file but this one")
    add("--selftest", action="store_true", help="check that this device computes what the model's author did")
    add("--doctor", action="store_true", help="print what this device can do and what to use on it")
    add("--version", action="store_true", help="print the version")
    return parser


def infer(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say; return the exit code."""
    parser = options()
    chosen = parser.parse_args(args)
    if chosen.version:
        import fmnist_runtime

        print(fmnist_runtime.__version__)
        return 0
    if chosen.photos and (chosen.doctor or chosen.selftest or chosen.web):
        parser.error("--doctor, --selftest and --web take no pictures; ask about those in a call of their own")
    if chosen.photos.count("-") > 1:
        parser.error("standard input can be read only once; give one -")
    if chosen.doctor:
        given = [name for name, value in vars(chosen).items() if value != parser.get_default(name)]
        if others := [f"--{name.replace('_', '-')}" for name in given if name not in ("photos", "doctor", "json")]:
            parser.error(f"--doctor examines the device, whatever the model: leave out {', '.join(others)}")
        from fmnist_runtime.cli.doctor import report

        print(report(as_json=chosen.json))
        return 0
    if not chosen.photos and not chosen.selftest and not chosen.web:
        parser.error("name at least one picture or folder, or - for standard input")
    if not chosen.selftest and not chosen.web:
        return _classify(chosen)
    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(**_loading(chosen))
    if chosen.web:
        return _write_page(chosen.model, chosen.sha256, chosen.web)
    from fmnist_runtime.cli.formatting import print_selftest

    return print_selftest(classifier, as_json=chosen.json)


def _classify(chosen: argparse.Namespace) -> int:
    from contextlib import closing

    from fmnist_runtime.cli.formatting import print_predictions

    progress = None
    if sys.stderr.isatty() and not sys.stdout.isatty():  # answers on the same terminal would break the bar
        from fmnist_runtime.cli.progress import Progress
        from fmnist_runtime.image_io.sources import count_pictures

        progress = Progress(count_pictures(chosen.photos))
    with closing(_answers(chosen)) as answers:
        if not gc.isenabled():  # what is there now, stays
            gc.freeze()
            gc.enable()
        return print_predictions(answers, as_json=chosen.json, progress=progress)


def _answers(chosen: argparse.Namespace) -> "Iterator[Answer]":
    from fmnist_runtime.batching.batch import choose_processes, classify_sources, comparison_writer
    from fmnist_runtime.image_io.sources import expand

    if chosen.show:
        from fmnist_runtime.files import make_folder

        make_folder(chosen.show)
    options = {"top_k": chosen.top_k, "reject": chosen.reject}
    one_process = "-" in chosen.photos or _is_pipe(chosen.model)  # neither can be read by several
    processes, sources = choose_processes(expand(chosen.photos), 1 if one_process else chosen.workers)
    if processes > 1:
        from fmnist_runtime.batching.worker_pool import classify_in_processes

        options["show"] = chosen.show and str(chosen.show)
        return classify_in_processes(sources, processes, load=_loading(chosen), options=options)
    from functools import partial

    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(**_loading(chosen))
    classify = partial(classifier.results, **options, on_input=comparison_writer(chosen.show))
    return classify_sources(classify, sources, threads=1 if chosen.workers == 1 else None)


def _is_pipe(model: str | None) -> bool:
    try:
        return model is not None and not S_ISREG(mode := os.stat(model).st_mode) and not S_ISDIR(mode)  # noqa: PTH116
    except (OSError, ValueError):  # the name of an embedded model, or an error that loading it reports
        return False


def _loading(chosen: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``Classifier.load``."""
    return {"path": chosen.model} | {
        name: getattr(chosen, name) for name in ("threads", "provider", "sha256", "careful")
    }


def _write_page(model: str | None, sha256: str | None, folder: Path) -> int:
    from fmnist_runtime.cli.webpage import write_page
    from fmnist_runtime.model_file.store import find_model, read_model

    size = write_page(read_model(find_model(model), sha256), folder)
    print(
        f"wrote {folder}: {size / 1e6:.1f} MB; serve it with any web server, for example: python -m http.server -d {folder}"
    )
    return 0


def main() -> None:
    """Entry point."""
    # numpy's linear algebra would start a thread for each processor, and the matrices here are tiny.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # while modules are imported there is nothing to collect, and much to look through
    sys.exit(run_app(infer))
