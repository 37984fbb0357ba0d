"""Classification by ``fmnist-infer``: from the parsed arguments to printed answers."""

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from fmnist_runtime.batching.batch import choose_processes, classify_sources
from fmnist_runtime.errors import FileError
from fmnist_runtime.image_io.sources import count_pictures, expand
from fmnist_runtime.options import model_arguments
from fmnist_runtime.prediction import Answer

__all__ = ["classify"]


def classify(chosen: Namespace) -> int:
    """Classifies the images named by the arguments of ``parsers.build_parser``; returns the exit code."""
    from fmnist_runtime.cli.formatting import print_answers, print_summary

    form = "json" if chosen.json else "csv" if chosen.csv else "table"
    progress = _progress(chosen)
    on_input = _comparison_writer(chosen.show)
    with closing(_answers(chosen, on_input)) as answers:
        if not gc.isenabled():  # main() disables it; objects of imports live until the end, so they are not collected
            gc.freeze()
            gc.enable()
        totals = print_answers(answers, form=form, quiet=chosen.quiet, progress=progress)
    if chosen.verbose:
        print_summary(totals, chosen.model)
    if on_input is not None and on_input.failure is not None:
        raise on_input.failure
    return int(totals.unreadable > 0)


def _progress(chosen: Namespace) -> Any:
    """Returns a progress bar, or None.

    There is none with ``--quiet``, without a terminal on standard error, where the number of images is unknown, and where
    the answers themselves are printed on a terminal.
    """
    unknown = chosen.watch is not None or chosen.files_from is not None
    if chosen.quiet or unknown or not sys.stderr.isatty() or sys.stdout.isatty():
        return None
    from fmnist_runtime.cli.progress import Progress

    return Progress(count_pictures(_paths(chosen), chosen.show))


def _paths(chosen: Namespace) -> Iterator[str]:
    paths: Iterator[str] = iter(chosen.photos)
    if any("*" in photo or "?" in photo or "[" in photo for photo in chosen.photos):
        from fmnist_runtime.cli.inputs import expand_patterns

        paths = expand_patterns(chosen.photos)
    if chosen.files_from is None:
        return paths
    from fmnist_runtime.cli.inputs import read_paths

    return chain(paths, read_paths(chosen.files_from, b"\0" if chosen.null else b"\n"))


def _answers(chosen: Namespace, on_input: Any) -> Generator[Answer, None, None]:
    if chosen.show:
        from fmnist_runtime.files import make_folder

        make_folder(chosen.show)
        _refuse_as_input(chosen.show, [*chosen.photos, *filter(None, [chosen.watch])])
    options = {"top_k": chosen.top_k, "reject": chosen.reject}
    # Only one process can read standard input or a pipe. A watched folder needs a classifier in this process.
    single_process = "-" in chosen.photos or chosen.watch is not None or _is_pipe(chosen.model)
    processes, sources = choose_processes(
        expand(_paths(chosen), report=True, output=chosen.show), 1 if single_process else chosen.workers
    )
    if processes > 1:
        from fmnist_runtime.workers.pool import classify_in_processes

        load = model_arguments(chosen)
        return classify_in_processes(sources, processes, load=load, options=options, on_input=on_input)
    from functools import partial

    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(**model_arguments(chosen))
    call = partial(classifier.results, **options, on_input=on_input)
    answers = classify_sources(call, sources, threads=1 if chosen.workers == 1 else None)
    if chosen.watch is None:
        return answers
    from fmnist_runtime.cli.inputs import FolderWatch, watch_answers

    return _concatenate(
        answers, watch_answers(call, FolderWatch(chosen.watch, chosen.interval or 0.5, output=chosen.show))
    )


def _refuse_as_input(folder: Path, inputs: Iterable[str | Path]) -> None:
    """Raises an error if the folder of ``--show`` is one of the inputs: its images would be classified, too."""
    for name in inputs:
        if os.path.isdir(name) and os.path.samefile(name, folder):  # noqa: PTH112, PTH121 (Path refuses some names)
            raise FileError(f"--show: {folder} is classified itself; name another folder")


def _comparison_writer(folder: Path | None) -> Any:
    """Returns the callback that writes the images of ``--show`` (a ``ComparisonFolder``); None without a folder."""
    if folder is None:
        return None
    from fmnist_runtime.image_io.comparison_image import ComparisonFolder

    return ComparisonFolder(str(folder))


def _concatenate(first: Iterator[Answer], second: Iterator[Answer]) -> Generator[Answer, None, None]:
    yield from first
    yield from second


def _is_pipe(model: str | None) -> bool:
    """Returns whether the model is a pipe, which only one process can read."""
    try:
        return model is not None and not S_ISREG(mode := os.stat(model).st_mode) and not S_ISDIR(mode)  # noqa: PTH116
    except (OSError, ValueError):  # the name of an embedded model, or a path whose error is reported when it is loaded
        return False
