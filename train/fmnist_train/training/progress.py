"""Progress of a training on standard error: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from fmnist_train.recipes import Recipe
from fmnist_train.training.state import Epoch

__all__ = ["Progress"]

_HEADER = (
    f"{'epoch':>9}  {'loss':>7}  {'accuracy':>8}  {'val loss':>8}  {'val acc':>7}  {'rate':>8}  {'seconds':>7}  left"
)


class Progress:
    """Progress display of a run; with ``quiet`` it prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Bar | None = None
        self._epochs = 0
        self._task = TaskID(0)
        self._recent: list[float] = []

    @contextmanager
    def of_run(self, recipe: Recipe, train: int, validation: int, device: torch.device) -> Iterator[None]:
        """Prints the run's settings, and shows its progress until the block ends."""
        self._epochs = recipe.epochs
        self.note(
            f"recipe {recipe.name}, model {recipe.model}, {train:,} training and {validation:,} validation images, on {device}"
        )
        self.note(_HEADER)
        if not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} batches"),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=self.console, transient=True) as self._bar:
            self._task = self._bar.add_task("starting", total=None)
            yield
        self._bar = None

    def batch(self, batch: int, batches: int) -> None:
        """Updates the bar after a batch."""
        if self._bar is not None:
            self._bar.update(self._task, completed=batch, total=batches, description="training")

    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """Prints the figures of a finished epoch."""
        self._recent = [*self._recent[-4:], epoch.seconds]
        left = (self._epochs - epoch.epoch) * sum(self._recent) / len(self._recent)
        self.note(
            f"{epoch.epoch:>4}/{self._epochs:<4}  {epoch.train_loss:7.4f}  {epoch.train_accuracy:8.2%}  "
            f"{_or_dash(epoch.validation_loss, '8.4f')}  {_or_dash(epoch.validation_accuracy, '7.2%')}  "
            f"{epoch.learning_rate:8.2g}  {epoch.seconds:7.1f}  {_clock(left)}"
            f"{'' if epoch.photo_accuracy is None else f'  photos {epoch.photo_accuracy:.2%}'}{'  best' if best else ''}"
        )
        if self._bar is not None:
            self._bar.reset(self._task)

    def note(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)


def _clock(seconds: float) -> str:
    """Returns a duration in hours, minutes and seconds; a training may take more than a day."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _or_dash(value: float | None, form: str) -> str:
    return format(value, form) if value is not None else "-".rjust(int(form.split(".")[0]))
