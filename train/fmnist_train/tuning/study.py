"""Search for better values of a recipe's fields, by Optuna. An SQL database stores it, for resuming and for sharing.

Trials are short runs without the test set. The best one is chosen by validation, like the epoch within a run.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, Trial, TrialState

from fmnist_runtime.errors import ConfigError, FmnistError
from fmnist_runtime.files import make_folder
from fmnist_train.data.splits import splits_sha256
from fmnist_train.files import refuse_replacing
from fmnist_train.recipes import Recipe
from fmnist_train.training.device import choose_device, keep_freed_memory
from fmnist_train.training.loop import Training, TrainingError
from fmnist_train.training.run import RunInputs, RunOptions, read_inputs, stop_on_interrupt
from fmnist_train.training.state import Epoch
from fmnist_train.tuning.database import STUDY_FILE, check_study, claim_study, claim_trial, open_study, release_trials
from fmnist_train.tuning.progress import TuningProgress
from fmnist_train.tuning.results import EPOCH, ERROR, RESULT_FILES, SECONDS, write_results
from fmnist_train.tuning.space import Parameter, own_values, rounded, search_space, suggest, with_values

__all__ = ["TuningOptions", "tune"]


@dataclass(frozen=True)
class TuningOptions:
    """Settings of a search that are not part of its recipe."""

    trials: int
    """Trials of the study in total, over all processes: complete, pruned and failed ones."""
    run: RunOptions = field(default_factory=RunOptions)
    """Options of every trial; ``output`` is the folder of the study."""
    only: tuple[str, ...] = ()
    """Fields to search; empty: all with a range and an effect."""
    prune_after: int = 5
    """Trials that must be complete before median pruning begins."""
    storage: str = ""
    """URL of a database; empty: the SQLite file ``study.db`` in the folder."""
    final_epochs: int | None = None
    """Epochs of the recipe file that is written; None: those of the trials, which may be short."""

    def folder(self, recipe: Recipe) -> Path:
        """Returns the folder of the study."""
        name = "" if self.run.data == "fashion-mnist" else f"-{Path(self.run.data).name}"
        return self.run.output or Path("runs") / f"tune-{recipe.name}{name}"


def tune(recipe: Recipe, options: TuningOptions, progress: TuningProgress) -> dict[str, Any]:
    """Runs trials until the study has ``options.trials`` of them, and writes ``best.json`` and ``history.html``.

    Returns:
        The best trial and the counts of trials (see ``write_results``).

    Raises:
        ConfigError: The recipe has no validation, a field has no range, the study is of another recipe or data set, or the
            folder holds files of the same names that are not of this study.
        CheckpointError: The database is not a study.
        TrainingError: No trial was completed.
        OSError, MemoryError: The disk or memory was full; the trial is tried again when the search goes on.
        KeyboardInterrupt: Ctrl-C was pressed; the results so far are written.
    """
    if not recipe.validation:
        raise ConfigError(f"recipe '{recipe.name}' has no validation images to choose by: set --validation 0.1")
    space = search_space(recipe, options.only)
    if options.run.threads:
        torch.set_num_threads(options.run.threads)
    keep_freed_memory()
    inputs = read_inputs(recipe, options.run, progress.note)
    folder = options.folder(recipe)
    make_folder(folder)
    if not options.storage and not (folder / STUDY_FILE).exists():
        refuse_replacing(folder, RESULT_FILES)  # before a study is created
    study = open_study(folder, options.storage, options.prune_after, recipe.epochs, progress.note)
    check_study(study, folder, options.storage)
    if not study.get_trials(deepcopy=False):
        refuse_replacing(folder, RESULT_FILES)
    claim_study(study, folder, _identity(recipe, inputs, space, options.run.seed))
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(own_values(space), skip_if_exists=True)
    trials = _Trials(recipe, options, inputs, space=space, study=study, progress=progress)
    interrupted = not _run_trials(trials, folder)
    results = trials.write_results(folder)
    if interrupted:
        progress.note(f"interrupted; complete trials so far: {results['trials']['complete']}; the same command goes on")
        raise KeyboardInterrupt
    if results["best"] is None:
        errors = [trial.user_attrs[ERROR] for trial in study.get_trials() if ERROR in trial.user_attrs]
        raise TrainingError(f"no trial was completed; the first error: {errors[0] if errors else 'none'}")
    return results


def _identity(recipe: Recipe, inputs: RunInputs, space: Sequence[Parameter], seed: int) -> dict[str, Any]:
    return {
        "recipe": recipe.to_dict(),
        "data set": inputs.source.name,
        "data": splits_sha256(inputs.train, inputs.validation),
        "search space": {parameter.name: parameter.describe() for parameter in space},
        "seed": seed,
    }


@dataclass
class _Trials:
    """The trials of this process."""

    recipe: Recipe
    options: TuningOptions
    inputs: RunInputs
    space: Sequence[Parameter]
    study: optuna.Study
    progress: TuningProgress
    current: Trial | None = None
    """Trial that is being trained."""
    fault: OSError | MemoryError | None = None
    """Fault of this machine that ended it, such as a full disk: no fault of its values, so it does not count."""

    def objective(self, trial: Trial) -> float:
        """Trains with the values that the study suggests; returns the validation accuracy of the chosen epoch."""
        self.current = trial
        claim_trial(trial)
        values = suggest(trial, self.space)
        self.progress.start_trial(trial.number, values)
        start = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(prefix="fmnist-tune-") as folder:
                return self._train(trial, with_values(self.recipe, values), Path(folder))
        except (optuna.TrialPruned, KeyboardInterrupt):
            raise
        except (OSError, MemoryError) as error:
            self.fault = error
            raise
        except Exception as error:
            text = str(error) if isinstance(error, FmnistError) else f"{type(error).__name__}: {error}"
            trial.set_user_attr(ERROR, next(iter(text.splitlines()), ""))
            raise
        finally:
            trial.set_user_attr(SECONDS, time.perf_counter() - start)

    def write_results(self, folder: Path) -> dict[str, Any]:
        """Writes the results of all trials of the study (see ``results.write_results``)."""
        options = self.options
        return write_results(
            self.study.get_trials(),
            self.recipe,
            self.space,
            folder,
            run=options.run,
            final_epochs=options.final_epochs,
        )

    def try_again(self) -> None:
        """Queues the values of the trial that was ended, for when the search goes on."""
        if self.current is not None and self.study.trials[self.current.number].state == TrialState.FAIL:
            self.study.enqueue_trial(rounded(self.current.params))

    def lost(self) -> bool:
        """Returns whether another process has marked the current trial as failed, as after a long pause of this machine."""
        if self.current is None:
            return False
        trial = self.study.get_trials()[self.current.number]
        lost = trial.state == TrialState.FAIL and ERROR not in trial.user_attrs
        if lost:
            self.progress.stop()
            self.progress.note(
                f"trial {trial.number}: another process has marked it as failed, after a long pause here"
            )
        return lost

    def _train(self, trial: Trial, recipe: Recipe, folder: Path) -> float:
        device: torch.device = choose_device(self.options.run.device)
        fitted = self.inputs.fit_batch_size(recipe, self.progress.note)
        training: Training = self.inputs.training(fitted, folder, self.options.run, device)
        with stop_on_interrupt() as stop:

            def report(epoch: Epoch) -> None:
                trial.report(_figure(epoch, recipe), epoch.epoch)
                self.progress.epoch(epoch.epoch, recipe.epochs, _figure(epoch, recipe))
                if trial.should_prune():
                    raise optuna.TrialPruned

            training.run(report, lambda batch, batches: stop.check())
        chosen = next(epoch for epoch in training.history if epoch.epoch == training.best_epoch())
        trial.set_user_attr(EPOCH, chosen.epoch)
        return _figure(chosen, recipe)


def _figure(epoch: Epoch, recipe: Recipe) -> float:
    """Returns the figure by which trials are compared: validation accuracy; with photos, its mean with that of photos."""
    accuracy = epoch.validation_accuracy
    if accuracy is None:
        raise ConfigError("the validation split has no images: set a larger --validation")
    if recipe.monitor == "photos" and epoch.photo_accuracy is not None:
        return (accuracy + epoch.photo_accuracy) / 2
    return accuracy


def _run_trials(trials: _Trials, folder: Path) -> bool:
    """Runs trials until the study has enough, and writes the results after each; returns False after Ctrl-C."""
    study, options = trials.study, trials.options

    def finished(study: optuna.Study, trial: FrozenTrial) -> None:
        trials.progress.end_trial(trial, trials.write_results(folder)["best"])

    try:
        while _count_trials(study) < options.trials:
            # The seed depends on the number of existing trials, so each process and each start draws other values.
            seed = options.run.seed + len(study.get_trials(deepcopy=False))
            study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            try:
                study.optimize(trials.objective, n_trials=1, catch=(Exception,), callbacks=[finished])
            except Exception:
                if not trials.lost():
                    raise
            if trials.fault is not None:
                trials.progress.stop()
                trials.try_again()
                raise trials.fault
    except KeyboardInterrupt:
        trials.progress.stop()
        trials.try_again()
        return False
    return True


def _count_trials(study: optuna.Study) -> int:
    """Returns the number of finished and running trials, without those whose process was killed."""
    release_trials(study)
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) or ERROR in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )
