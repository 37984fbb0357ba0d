"""Options of a training run and of its data, as fields from which the command-line options are derived.

This module does not import PyTorch, so that ``--help`` is fast.
"""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fmnist_runtime.cpus import MAX_THREADS
from fmnist_train.recipes import Recipe
from fmnist_train.settings import check_settings, option_words, setting

__all__ = ["DataOptions", "RunOptions"]


@dataclass(frozen=True)
class DataOptions:
    """Data set of a command; the fields are the arguments of ``find_dataset``."""

    data: str = setting(
        "fashion-mnist",
        "Name of a data set, fashion-mnist or sample (built in, no download), or a folder of class folders.",
        panel="Data",
        show_default=True,
    )
    data_dir: Path | None = setting(None, "Folder of the data set's files, IDX or CSV.", panel="Data")


@dataclass(frozen=True)
class RunOptions(DataOptions):
    """Options of a run that are not part of its recipe.

    Raises:
        ConfigError: A value is outside its range.
    """

    output: Path | None = setting(
        None,
        "Run folder.",
        names=("--output", "-o"),
        show_default="runs/<recipe>[-<data>]-seed<n>",
        panel="Run",
    )
    seed: int = setting(0, "Seed of all random draws.", ge=0, le=2**32 - 1, show_default=True, panel="Run")
    device: str = setting("auto", "Device for training: auto, cpu, cuda or mps.", show_default=True, panel="Run")
    mixed_precision: bool = setting(
        True,
        "Use bfloat16 if the processor computes it.",
        names=("--mixed-precision/--no-mixed-precision",),
        show_default=True,
        panel="Run",
    )
    threads: int = setting(
        0, "Number of CPU threads; 0: PyTorch's default.", ge=0, le=MAX_THREADS, show_default=True, panel="Run"
    )
    resume: bool = setting(False, "Continue the run in the output folder.", panel="Run")
    teachers: tuple[Path, ...] = setting(
        (),
        "Run folder or checkpoint of a teacher, in place of the recipe's; several are averaged.",
        panel="Distillation",
        names=("--teacher",),
    )
    start: Path | None = setting(
        None, "Run folder or checkpoint with the first weights, in place of the recipe's start.", panel="Training"
    )
    photos: Path | None = setting(
        None, "Folder of labeled photos: a table train.csv, and the photos that it lists.", panel="Photos"
    )
    photo_teachers: tuple[Path, ...] = setting(
        (),
        "Run folder or checkpoint of a teacher for photos; several are averaged.",
        panel="Photos",
        names=("--photo-teacher",),
    )
    tensorboard: bool = setting(False, "Also write TensorBoard events; needs the extra tensorboard.", panel="Run")

    def __post_init__(self) -> None:
        check_settings(self)

    def command(self, recipe_file: Path, *, without: Collection[str] = ()) -> str:
        """Returns the command that trains a recipe file with these options, except the fields in ``without``."""
        return shlex.join(["fmnist-train", "--recipe", str(recipe_file), *option_words(self, without=without)])

    def folder(self, recipe: Recipe) -> Path:
        """Returns the run folder: ``output``, or one named after recipe, data (unless Fashion-MNIST) and seed."""
        name = "" if self.data == "fashion-mnist" else f"-{Path(self.data).name}"
        return self.output or Path("runs") / f"{recipe.name}{name}-seed{self.seed}"
