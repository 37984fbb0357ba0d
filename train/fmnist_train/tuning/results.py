"""Results of a search: the best recipe as a file, and one page about all trials.

The page is the Jinja2 template ``history.html``, which escapes every text. It needs neither a network connection nor scripts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from optuna.trial import FrozenTrial, TrialState

from fmnist_runtime.files import write_atomically
from fmnist_train.recipes import Recipe, save_recipe
from fmnist_train.run_options import RunOptions
from fmnist_train.tuning.charts import Chart, Line, draw
from fmnist_train.tuning.space import Parameter, own_values, rounded, with_values

__all__ = ["EPOCH", "ERROR", "RESULT_FILES", "SECONDS", "write_results"]

EPOCH, ERROR, SECONDS = "epoch", "error", "seconds"
"""Attributes of a trial: the epoch that validation chose, the message of its failure, and its duration."""
_BEST, _HISTORY = RESULT_FILES = ("best.json", "history.html")
_TEMPLATE = Path(__file__).with_name("history.html")
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}
_CURVES = 40
"""Largest number of learning curves, of the best trials; more could not be distinguished."""


@dataclass(frozen=True)
class _Row:
    """A trial as the page shows it."""

    number: int
    state: str
    """complete, pruned, running, failed, or interrupted (its process ended)."""
    accuracy: float | None
    """Validation accuracy of the chosen epoch; for a pruned trial, that of the last epoch."""
    epoch: int | None
    curve: list[tuple[float, float]]
    """Epochs and their validation accuracies."""
    seconds: float | None
    values: dict[str, float]
    error: str


def write_results(
    trials: Sequence[FrozenTrial],
    recipe: Recipe,
    space: Sequence[Parameter],
    folder: Path,
    *,
    run: RunOptions,
    final_epochs: int | None = None,
) -> dict[str, Any]:
    """Writes ``history.html`` and, if a trial is complete, ``best.json``, each atomically.

    Args:
        trials: All trials of the study.
        recipe: The recipe of the trials.
        space: The fields that were searched.
        folder: Folder of the study.
        run: Options of the trials; those that apply to a run are part of ``command``.
        final_epochs: Epochs of ``best.json``; None: those of the trials.

    Returns:
        ``best`` (``trial``, ``accuracy``, ``epoch``, ``values``; None without a complete trial), ``trials`` (counts of
        ``complete``, ``pruned`` and ``failed`` ones), ``recipe`` and ``history`` (paths; ``recipe`` is None without a best),
        ``command`` (which trains the recipe), ``epochs`` (of ``best.json``) and ``trial_epochs``.
    """
    rows = [_row(trial) for trial in trials if trial.state != TrialState.WAITING]
    complete = [row for row in rows if row.state == "complete"]
    best = max(complete, key=lambda row: (row.accuracy or 0, -row.number), default=None)
    command = run.command(folder / _BEST, without=("output",))
    if best is not None:
        final = with_values(recipe, best.values, f"{recipe.name}-tuned")
        save_recipe(replace(final, epochs=final_epochs or recipe.epochs), folder / _BEST)
    write_atomically(folder / _HISTORY, _page(rows, best, recipe, space, command=command))
    counts = Counter(row.state for row in rows)
    return {
        "best": None if best is None else _summary(best),
        "trials": {state: counts[state] for state in ("complete", "pruned", "failed")},
        "recipe": None if best is None else str(folder / _BEST),
        "history": str(folder / _HISTORY),
        "command": command,
        "epochs": final_epochs or recipe.epochs,
        "trial_epochs": recipe.epochs,
    }


def _summary(best: _Row) -> dict[str, Any]:
    return {"trial": best.number, "accuracy": best.accuracy, "epoch": best.epoch, "values": best.values}


def _row(trial: FrozenTrial) -> _Row:
    curve = [(float(epoch), accuracy) for epoch, accuracy in sorted(trial.intermediate_values.items())]
    error = trial.user_attrs.get(ERROR, "")
    return _Row(
        number=trial.number,
        state=_STATES.get(trial.state, "failed" if error else "interrupted"),
        accuracy=trial.value if trial.state == TrialState.COMPLETE else (curve[-1][1] if curve else None),
        epoch=trial.user_attrs.get(EPOCH),
        curve=curve,
        seconds=trial.user_attrs.get(SECONDS),
        values=rounded(trial.params),
        error=error,
    )


def _page(rows: Sequence[_Row], best: _Row | None, recipe: Recipe, space: Sequence[Parameter], *, command: str) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    own = own_values(space)
    first = next((row for row in rows if row.state == "complete" and row.values == rounded(own)), None)
    return environment.get_template(_TEMPLATE.name).render(
        recipe=recipe,
        space=space,
        command=command,
        rows=rows,
        best=best,
        own=own,
        first=first,
        counts=Counter(row.state for row in rows),
        seconds=sum(row.seconds or 0 for row in rows),
        history=_history_chart(rows),
        curves=_curves_chart(rows, best),
        scatters=[_scatter(rows, parameter) for parameter in space],
    )


def _history_chart(rows: Sequence[_Row]) -> Chart | None:
    """Accuracy of every trial, and the best one so far as a step line."""
    lines, top = [], 0.0
    for row in rows:
        if row.state == "complete" and row.accuracy is not None:
            top = max(top, row.accuracy)
            lines.append((float(row.number), top))
    if lines:
        lines.append((float(rows[-1].number), top))
    steps = [(x, y) for (_, y), (x, _) in pairwise(lines)]
    course = sorted([*lines, *steps])
    return draw(
        [Line(course, "best"), *_dots(rows, lambda row: float(row.number))], "trial", "validation accuracy", whole=True
    )


def _curves_chart(rows: Sequence[_Row], best: _Row | None) -> Chart | None:
    """Accuracy by epoch of the best trials."""
    shown = sorted((row for row in rows if row.curve), key=lambda row: -(row.accuracy or 0))[:_CURVES]
    lines = [Line(row.curve, row.state, title=f"trial {row.number}, {row.state}") for row in reversed(shown)]
    if best is not None:
        lines.append(Line(best.curve, "best", title=f"trial {best.number}, the best"))
    return draw(lines, "epoch", "validation accuracy", whole=True)


def _scatter(rows: Sequence[_Row], parameter: Parameter) -> Chart | None:
    """Accuracy over the values of one field."""
    known = [row for row in rows if parameter.name in row.values]
    dots = _dots(known, lambda row: row.values[parameter.name])
    return draw(dots, parameter.name, "validation accuracy", log=parameter.log, whole=parameter.whole)


def _dots(rows: Sequence[_Row], place: Any) -> list[Line]:
    """One point for each trial with a figure."""
    return [
        Line([(place(row), row.accuracy)], row.state, title=f"trial {row.number}: {row.accuracy:.2%}, {row.state}")
        for row in rows
        if row.accuracy is not None and row.state in ("complete", "pruned")
    ]
