"""Classification on many machines: Ray Data reads, distributes and writes; each worker holds one ``Classifier``.

    fmnist-infer ray s3://shop/photos s3://shop/answers --workers 64

Needs the extra ``ray``. docs/many-machines.md describes what happens to unreadable images and after a worker has died.
"""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import DataError, ImageError, WorkerError, reason_of
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.left_out import describe_hidden, is_hidden, is_passed_over
from fmnist_runtime.image_io.sources import EXTENSIONS, find_images
from fmnist_runtime.prediction import PredictionOrError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ClassifyFiles", "classify_folder"]

_BATCH = 64
"""Images per model call, as in ``pool``."""
_EXISTS = "{}: exists already; name a new folder for the answers, or remove this one"
_NOT_STARTED = "Ray did not start; a slow machine may need a larger RAY_raylet_start_wait_time_s, in seconds"
_RETRIES = 3
"""Number of times that a batch is tried again after its worker has died; an image that crashes each of them ends the run."""
_WORKER_CPUS, _TASK_CPUS = 0.9, 0.1
"""CPUs of a worker, and of a task that reads or writes. Workers with whole CPUs could leave none for reading: a deadlock."""


class ClassifyFiles:
    """Callable for ``Dataset.map_batches``: converts a table of ``path`` and ``bytes`` to a table of answers.

    The columns are those of ``fmnist-infer --json``: ``path``, ``label`` and ``class_id`` (null where rejected),
    ``probability``, ``rejected``, and ``error`` (null where the image could be read).
    """

    def __init__(self, model: str | None = None, *, careful: bool = False, reject: bool = True) -> None:
        from fmnist_runtime.classifier import Classifier

        self._classifier = Classifier.load(model, careful=careful)
        self._reject = reject

    def __call__(self, files: "pyarrow.Table") -> "pyarrow.Table":
        """Classifies one block of files."""
        pictures = files["bytes"].to_pylist()
        results = self._classifier.results(pictures, top_k=1, reject=self._reject)
        return _table(zip(files["path"].to_pylist(), results, strict=True))


def classify_folder(
    source: str | list[str],
    output: str,
    *,
    workers: int = 2,
    worker: type[ClassifyFiles] = ClassifyFiles,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Classifies every image below a folder or an object store's prefix, and writes the answers as Parquet files.

    Args:
        source: One or several paths or URLs of pyarrow's file systems (s3://, gs://, ...).
        output: A folder or prefix that does not exist yet, so that it holds no answers of an earlier run.
        workers: Number of processes with a classifier each, about one CPU each, on any of Ray's machines.
        worker: Class of the workers.
        settings: Arguments of ``worker``; a model's path must be readable on every machine.

    Raises:
        DataError: The source does not exist or has no images, or the output exists.
        WorkerError: Ray did not start.
    """
    sources = [source] if isinstance(source, str) else source
    _check_paths(sources, output)
    import ray.data

    _start_ray(workers)
    try:
        visible = _Visible(sources)
        files = _read_files(sources, visible)
        visible.report()
        with warnings.catch_warnings():
            # Ray deprecates this argument but has no other one for retries. Unlimited retries would repeat a crash forever.
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
        if visible.unreadable:
            answers = answers.union(ray.data.from_arrow(_unreadable_table(visible)))
        answers.write_parquet(output, mode=ray.data.SaveMode.ERROR, ray_remote_args={"num_cpus": _TASK_CPUS})
    except (FileNotFoundError, ValueError) as error:
        if "already exists" in str(error):  # in an object store, or made since the check above
            raise DataError(_EXISTS.format(output)) from error
        raise DataError(" ".join(str(error).split())) from error


def _start_ray(workers: int) -> None:
    import ray

    if not ray.is_initialized():
        # A cluster has its own CPUs; on one machine Ray gets at least as many as there are workers.
        local = None if "RAY_ADDRESS" in os.environ else max(workers, available_cpus())
        try:
            ray.init(num_cpus=local, include_dashboard=False)
        except Exception as error:  # a slow start raises a plain Exception
            raise WorkerError(f"{_NOT_STARTED}: {reason_of(error)}") from error


def _check_paths(sources: Sequence[str], output: str) -> None:
    """Refuses local paths that cannot be read or written, before Ray starts."""
    for path in sources:
        if "://" not in path and not Path(path).exists():
            raise DataError(f"{path}: no such folder")
    if "://" not in output and Path(output).exists():
        raise DataError(_EXISTS.format(output))


def _read_files(sources: Sequence[str], visible: "_Visible") -> Any:
    """Returns the Ray data set of all images below the sources: a row has ``bytes`` and ``path``."""
    import ray.data

    return ray.data.read_binary_files(
        _paths_for_ray(sources, visible),
        include_paths=True,
        partition_filter=visible,
        num_cpus=_TASK_CPUS,
    )


class _Visible:
    """Filter that keeps the images below the sources in a list of paths, and counts what it leaves out.

    It leaves out hidden names (see ``is_hidden``) and photos in files of other names (see ``is_passed_over``). Ray calls it
    in this process.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        bare = [source.partition("://")[2] or source for source in sources]
        self._roots = sorted({root.rstrip("/") for path in bare for root in (path, os.path.abspath(path))}, key=len)  # noqa: PTH100
        self._left_out: set[str] = set()
        self.unreadable: list[str] = []
        """Local images that cannot be opened, for which Ray would end the run; they get answers, too."""

    def __call__(self, paths: list[str]) -> list[str]:
        """Returns the paths of the images.

        Raises:
            DataError: There are none.
        """
        kept = []
        for path in paths:
            *folders, name = self._relative(path).split("/")
            is_image = os.path.splitext(path)[1].lower() in EXTENSIONS  # noqa: PTH122
            is_below_hidden = any(map(is_hidden, folders))
            if is_image and not is_below_hidden and not is_hidden(name):
                kept.append(path)
            elif is_image or (not is_below_hidden and is_passed_over(path)):
                self._left_out.add(path)
        if not kept:
            reasons = [f"{_as_text(path)}: {_fault(path)}" for path in self.unreadable[:1]]
            raise DataError("; ".join(["no pictures in the source", *self._describe(), *reasons]))
        return kept

    def leave_out(self, paths: list[str]) -> None:
        """Counts further paths that are left out, each once."""
        self._left_out.update(paths)

    def report(self) -> None:
        """Logs how many files were left out."""
        for text in self._describe():
            logging.getLogger(__name__).warning("%s", text)

    def _describe(self) -> list[str]:
        return [describe_hidden(sorted(self._left_out))] if self._left_out else []

    def _relative(self, path: str) -> str:
        root = next((root for root in reversed(self._roots) if path.startswith(root + "/")), path)
        return path[len(root) :]


def _paths_for_ray(sources: Sequence[str], visible: _Visible) -> list[str]:
    """Returns the paths that Ray lists: the sources and what it skips in them, or each image of a folder with links.

    Ray follows links to folders, without end where one leads upwards; ``find_images`` leaves them out. Ray ends at the first
    file that cannot be opened, such as a link to nowhere, and at a name that is not UTF-8, as old archives have; such images
    become ``visible.unreadable``. Ray needs up to a millisecond for each path of a long list, so other folders are left to its
    own listing.

    Raises:
        DataError: A folder with such links or files holds no other images.
    """
    found: list[str] = []
    for source in sources:
        folder = source.removeprefix("file://")
        hidden: list[str] = []
        images = list(map(str, find_images(folder, hidden))) if os.path.isdir(folder) else []  # noqa: PTH112
        unreadable = {path for path in images if not (os.access(path, os.R_OK) and _is_utf8(path))}
        has_links = any(os.path.islink(path) and os.path.isdir(path) for path in hidden)  # noqa: PTH112, PTH114
        if has_links or unreadable or not all(_is_utf8(name) for name in _names_below(folder)):
            visible.leave_out(hidden)
            visible.unreadable += sorted(unreadable)
            found += visible([path for path in images if path not in unreadable])
        else:
            found += [source, *_skipped_by_ray([source])]
    return found


def _names_below(folder: str) -> Iterator[str]:
    """Yields the names of all files and folders in a local folder, links not followed; none for another path."""
    for _, folders, files in os.walk(folder):
        yield from folders
        yield from files


def _is_utf8(path: str) -> bool:
    return _as_text(path) == path


def _as_text(path: str) -> str:
    """Returns a path with U+FFFD in place of bytes that are not UTF-8, which a column of text cannot hold."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _skipped_by_ray(folders: Sequence[str]) -> list[str]:
    """Returns the photos and folders directly in a folder whose names begin with ``_`` or a dot: Ray's listing skips them.

    ``_Visible`` then leaves out the hidden ones, and those in files of other names.
    """
    found = []
    for folder in folders:
        skipped = _names(folder)
        deeper = _skipped_by_ray(
            [path for path, is_folder in skipped if is_folder and not is_hidden(path.rpartition("/")[2])]
        )
        found += [path for path, _ in skipped] + deeper
    return found


def _names(folder: str) -> list[tuple[str, bool]]:
    """Returns paths in a folder or prefix that Ray skips, and whether each is a folder."""
    from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

    try:
        system, path = FileSystem.from_uri(folder) if "://" in folder else (LocalFileSystem(), folder)
        infos = system.get_file_info(FileSelector(path))
    except (OSError, ValueError):  # a file, another kind of URL, or what Ray will report
        return []
    found = []
    for info in infos:
        is_folder = info.type == FileType.Directory
        path = f"{folder.rstrip('/')}/{info.base_name}"
        is_image = f".{info.extension.lower()}" in EXTENSIONS
        if info.base_name[:1] in ("_", ".") and (is_folder or is_image or is_passed_over(path)):
            found.append((path, is_folder))
    return found


def _unreadable_table(visible: _Visible) -> "pyarrow.Table":
    """Returns the answers for images that cannot be opened."""
    return _table((_as_text(path), _fault(path)) for path in visible.unreadable)


def _fault(path: str) -> ImageError:
    """Returns the reason why an image cannot be opened."""
    if not _is_utf8(path):
        return ImageError("its name is not UTF-8, which Ray needs; rename the file")
    try:
        open_image(path)
    except ImageError as error:
        return error
    return ImageError("cannot be read: it was not there when the run began")


def _table(answers: Iterable[tuple[str, PredictionOrError]]) -> "pyarrow.Table":
    """Returns the table of answers by path."""
    import pyarrow as pa

    # An explicit schema: the column ``error`` would otherwise have another type in a block without errors.
    schema = pa.schema([
        ("path", pa.string()),
        ("label", pa.string()),
        ("class_id", pa.int32()),
        ("probability", pa.float64()),
        ("rejected", pa.bool_()),
        ("error", pa.string()),
    ])  # fmt: skip
    return pa.Table.from_pylist([_row(path, result) for path, result in answers], schema=schema)


def _row(path: str, result: PredictionOrError) -> dict[str, Any]:
    if isinstance(result, Exception):
        return {"path": path, "rejected": False, "error": str(result) or type(result).__name__}
    return {
        "path": path,
        "label": result.label,
        "class_id": result.class_id,
        "probability": result.probability,
        "rejected": result.rejected,
    }
