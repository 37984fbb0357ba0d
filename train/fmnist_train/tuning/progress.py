"""Progress of a search on standard error: a line for each trial, and on a terminal the running one."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.status import Status

from fmnist_runtime.console import counted
from fmnist_train.tuning.results import ERROR, SECONDS

__all__ = ["TuningProgress"]


class TuningProgress:
    """Progress display of a search; with ``quiet`` it prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._status: Status | None = None
        self._trial = ""

    def note(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)

    def start_trial(self, number: int, values: Mapping[str, float]) -> None:
        """Shows the values of a trial that begins."""
        self._trial = f"trial {number}"
        self.note(f"{self._trial}: {', '.join(f'{name} {value:g}' for name, value in values.items())}")
        if self.console.is_terminal:
            self._status = self.console.status(self._trial)
            self._status.start()

    def epoch(self, epoch: int, epochs: int, accuracy: float) -> None:
        """Shows the validation accuracy of a finished epoch."""
        if self._status is not None:
            self._status.update(f"{self._trial}: epoch {epoch} of {epochs}, validation {accuracy:.2%}")

    def end_trial(self, trial: FrozenTrial, best: Mapping[str, Any] | None) -> None:
        """Shows the result of a trial, and the best one so far."""
        self.stop()
        seconds = f"{trial.user_attrs.get(SECONDS, 0):.0f} s"
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            result = f"validation {trial.value:.2%}, {seconds}"
        elif trial.state == TrialState.PRUNED:
            result = f"pruned after {counted(len(trial.intermediate_values), 'epoch')}, {seconds}"
        else:
            result = f"failed: {trial.user_attrs.get(ERROR, 'its process ended')}"
        top = f"; best {best['accuracy']:.2%} (trial {best['trial']})" if best else ""
        self.note(f"trial {trial.number}: {result}{top}")

    def stop(self) -> None:
        """Removes the line of the running trial."""
        if self._status is not None:
            self._status.stop()
            self._status = None
