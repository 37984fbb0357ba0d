"""A million photos on many machines: Ray Data reads, ships and writes; each worker is one ``Classifier``.

    python -m fmnist_runtime.batching.ray_batch s3://shop/photos s3://shop/answers --workers 64

Needs the extra ``ray``; docs/many-machines.md says what is promised when pictures are bad and workers die.
"""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_runtime.batching.batch import answer_batch
from fmnist_runtime.batching.cpus import MOST_PROCESSES, available_cpus
from fmnist_runtime.cli.console import run_app
from fmnist_runtime.cli.options import Options, up_to
from fmnist_runtime.errors import DataError
from fmnist_runtime.image_io.decode import EXTENSIONS
from fmnist_runtime.prediction import Outcome

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ClassifyFiles", "classify_folder", "many", "options"]

_BATCH = 64
_EXISTS = "{}: exists already; name a new folder for the answers, or remove this one"
_RETRIES = 3
"""How often a batch is given to another worker after its own has died; a picture that kills every one ends the run."""


class ClassifyFiles:
    """For ``Dataset.map_batches``: a table of ``path`` and ``bytes`` to a table of answers.

    The columns are those of ``fmnist-infer --json``: ``path``, ``label`` and ``class_id`` (null where rejected),
    ``probability``, ``rejected``, and ``error`` (null where the picture could be read).
    """

    def __init__(self, model: str | None = None, *, careful: bool = False, reject: bool = True) -> None:
        from fmnist_runtime.classifier import Classifier

        self._classifier = Classifier.load(model, careful=careful)
        self._reject = reject

    def __call__(self, files: "pyarrow.Table") -> "pyarrow.Table":
        import pyarrow as pa

        pictures = files["bytes"].to_pylist()
        outcomes = answer_batch(self._classifier, pictures, top_k=1, reject=self._reject)
        rows = [_row(path, outcome) for path, outcome in zip(files["path"].to_pylist(), outcomes, strict=True)]
        # A schema, or a block without an error would give that column another type than one with.
        schema = pa.schema([
            ("path", pa.string()),
            ("label", pa.string()),
            ("class_id", pa.int32()),
            ("probability", pa.float64()),
            ("rejected", pa.bool_()),
            ("error", pa.string()),
        ])  # fmt: skip
        return pa.Table.from_pylist(rows, schema=schema)


_WORKER_CPUS, _TASK_CPUS = 0.9, 0.1
"""Reading and writing need a share too: as many workers of a whole CPU as there are CPUs would wait for it without end."""


def classify_folder(
    source: str | list[str],
    output: str,
    *,
    workers: int = 2,
    worker: type[ClassifyFiles] = ClassifyFiles,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Classify every picture below a folder or an object store's prefix, and write the answers as Parquet files.

    Args:
        source: one or several paths or URLs that pyarrow's file systems know (s3://, gs://, ...).
        output: a folder or prefix that does not exist yet, so that no answers of an earlier run are in it.
        workers: processes with a classifier each, about a CPU each, wherever Ray has room for them.
        worker: what each of them is.
        settings: how each is made; a model's path must be readable on every machine.

    Raises:
        DataError: the source is not there or has no pictures, or the output exists.
    """
    for path in [source] if isinstance(source, str) else source:
        if "://" not in path and not Path(path).exists():  # said now, not when Ray has started
            raise DataError(f"{path}: no such folder")
    if "://" not in output and Path(output).exists():
        raise DataError(_EXISTS.format(output))
    import ray.data

    if not ray.is_initialized():
        # A cluster knows its own CPUs; on one machine there are at least as many as workers are asked for.
        local = None if "RAY_ADDRESS" in os.environ else max(workers, available_cpus())
        ray.init(num_cpus=local, include_dashboard=False)
    extensions = sorted(extension.removeprefix(".") for extension in EXTENSIONS)
    try:
        files = ray.data.read_binary_files(source, include_paths=True, file_extensions=extensions, num_cpus=_TASK_CPUS)
        with warnings.catch_warnings():
            # Ray wants named parameters, and has none for retries; without one a picture that kills would do so without end.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            answers = files.map_batches(
                worker,
                fn_constructor_kwargs=dict(settings or {}),
                batch_size=_BATCH,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=_WORKER_CPUS,
                max_task_retries=_RETRIES,
            )
        answers.write_parquet(output, mode=ray.data.SaveMode.ERROR, ray_remote_args={"num_cpus": _TASK_CPUS})
    except (FileNotFoundError, ValueError) as error:
        if "already exists" in str(error):  # in an object store, or since a moment ago
            raise DataError(_EXISTS.format(output)) from error
        raise DataError(" ".join(str(error).split())) from error


def _row(path: str, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"path": path, "rejected": False, "error": str(outcome) or type(outcome).__name__}
    return {
        "path": path,
        "label": outcome.label,
        "class_id": outcome.class_id,
        "probability": outcome.probability,
        "rejected": outcome.rejected,
    }


def options() -> Options:
    """The options of the command."""
    parser = Options(
        prog="python -m fmnist_runtime.batching.ray_batch", description="Classify a folder with many workers, on Ray."
    )
    add = parser.add_argument
    add("source", metavar="FOLDER_OR_URL", help="where the pictures are")
    add("output", metavar="FOLDER_OR_URL", help="a new folder for the answers, as Parquet")
    add(
        "--workers",
        type=up_to(MOST_PROCESSES),
        default=2,
        metavar="N",
        help="processes with a classifier each (default: 2)",
    )
    add("--model", help="model file or folder, readable on every machine, or embedded model by name")
    add("--careful", action="store_true", help="average four views: slower, refuses more of what is no garment")
    return parser


def many(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say; return the exit code."""
    chosen = options().parse_args(args)
    settings = {"model": chosen.model, "careful": chosen.careful}
    classify_folder(chosen.source, chosen.output, workers=chosen.workers, settings=settings)
    return 0


if __name__ == "__main__":
    sys.exit(run_app(many, extra="ray"))
