"""The database of a study, which several processes may open or create at once; it belongs to one recipe and data set."""

import os
import socket
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from fmnist_runtime.errors import MALFORMED, CheckpointError, ConfigError
from fmnist_train.checkpoint import is_share
from fmnist_train.tuning.results import EPOCH, SECONDS

__all__ = ["STUDY_FILE", "check_study", "claim_study", "claim_trial", "open_study", "release_trials"]

STUDY_FILE = "study.db"
"""Name of the SQLite file in the folder of a study."""
_IDENTITY = "identity"
"""Attribute of the study: recipe, data and fields that all its trials share."""
_SPACE = "search space"
"""Part of the identity: the range of each field, by its name."""
_PROCESS = "process"
"""Attribute of a trial: host name of the machine and id of the process that trains it."""
_HEARTBEAT = 30
"""Seconds between two time stamps that a running trial writes."""
_GRACE = 120
"""Age of the last time stamp, in seconds, from which a trial counts as failed because its process was killed."""
_LOCK_WAIT = 60
"""Seconds that a process waits for the others to finish a write to the SQLite file."""
_LEAST_EPOCHS = 2
"""Smallest number of epochs before pruning, because early figures are noisy; with over 20 epochs it is a tenth of them."""
_LOCK_NOTE = 2
"""Seconds of such a wait, at the start, after which a note says so."""
_ATTEMPTS = 20
"""Number of attempts to open a study, half a second apart: several processes may create the tables at the same moment."""


def open_study(
    folder: Path, url: str, prune_after: int, epochs: int, note: Callable[[str], None] = lambda _: None
) -> optuna.Study:
    """Opens the study of a folder; creates it if it does not exist.

    Args:
        folder: Folder whose name is that of a new study, and of a study in a database with several ones.
        url: Database; empty: the SQLite file ``study.db`` in the folder.
        prune_after: Number of complete trials before pruning begins.
        epochs: Largest number of epochs of a trial.
        note: Gets a line while another program locks the file.

    Raises:
        CheckpointError: The database cannot be opened, or is not a study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the progress names failed trials
    place = _place(folder, url)
    if not url:
        _wait_for_lock(folder / STUDY_FILE, note)
    if not url and _is_foreign(folder / STUDY_FILE):
        raise CheckpointError(f"{place}: the database of another program; name another --output")
    wait = {"connect_args": {"timeout": _LOCK_WAIT}} if not url or url.startswith("sqlite") else {}
    pruner = optuna.pruners.MedianPruner(n_startup_trials=prune_after, n_warmup_steps=max(_LEAST_EPOCHS, epochs // 10))
    end = time.monotonic() + _LOCK_WAIT
    for attempt in range(_ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the heartbeat
                storage = optuna.storages.RDBStorage(
                    url or _file_url(folder / STUDY_FILE),
                    engine_kwargs=wait,
                    heartbeat_interval=_HEARTBEAT,
                    grace_period=_GRACE,
                )
            _serialize(storage.engine)
            return optuna.create_study(
                storage=storage,
                study_name=_study_name(folder, [] if url else optuna.get_all_study_names(storage)),
                direction="maximize",
                load_if_exists=True,
                pruner=pruner,
            )
        except (OperationalError, IntegrityError) as error:
            if attempt == _ATTEMPTS - 1 or time.monotonic() > end:
                raise _study_error(place, error) from error
            time.sleep(0.5)
        except (*MALFORMED, SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ImportError) as error:
            raise _study_error(place, error) from error
    raise AssertionError("the last attempt returns or raises")


def _place(folder: Path, url: str) -> str:
    """Returns the name of a database in messages."""
    return "--storage" if url else str(folder / STUDY_FILE)  # a URL may hold a password


def _study_name(folder: Path, stored: Sequence[str]) -> str:
    """Returns the name of a folder's study: of the only one in its file, as the folder may have been renamed since."""
    return stored[0] if len(stored) == 1 else Path(os.path.abspath(folder)).name  # noqa: PTH100 (keeps links' names)


def _wait_for_lock(path: Path, note: Callable[[str], None]) -> None:
    """Waits until no other program is changing an SQLite file; unlike SQLite's own wait, Ctrl-C ends this one.

    Raises:
        CheckpointError: The file is still locked after ``_LOCK_WAIT`` seconds.
    """
    begin, noted = time.monotonic(), False
    while path.is_file() and _is_locked(path):
        waited = time.monotonic() - begin
        if waited > _LOCK_WAIT:
            raise CheckpointError(f"{path}: another program keeps it locked, such as a viewer of databases; close that")
        if waited > _LOCK_NOTE and not noted:
            noted = True
            note(f"{path} is locked by another program: waiting up to {_LOCK_WAIT} s")
        time.sleep(0.1)


def _is_locked(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.1)) as database:
            database.execute("BEGIN IMMEDIATE").connection.rollback()
    except sqlite3.Error as error:
        return "locked" in str(error)  # for other errors, opening the study gives the message
    return False


def _is_foreign(path: Path) -> bool:
    """Returns whether a file is an SQLite database that has tables, but not those of Optuna, which would be added."""
    for _ in range(_ATTEMPTS):
        tables = _table_names(path)
        if not tables or "alembic_version" in tables:
            return False
        if not tables & {"studies", "version_info"}:
            return True
        time.sleep(0.5)  # another process may be creating them
    return True


def _table_names(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_WAIT)) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:  # opening the study gives the message
        return set()


def _serialize(engine: Engine) -> None:
    """Lets one process at a time read and then change an SQLite file; other databases lock the rows that they read.

    Without it, two processes may both find a queued trial and both train it.

    Source:
        SQLAlchemy's documentation, "Pysqlite": serializable isolation.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # Python's module would begin transactions at their first change

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections that were opened before


def _file_url(path: Path) -> str:
    """Returns a URL in which characters with a meaning in a URL, such as the ``?`` of a folder's name, are escaped."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def _study_error(place: str, error: Exception) -> CheckpointError:
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    is_full = "disk I/O error" in cause or "disk is full" in cause  # not "disk image is malformed"
    advice = "; make space there, or raise the limit on file sizes (ulimit -f)" if is_full else ""
    return CheckpointError(f"{place}: no study of fmnist-train tune can be opened here ({cause}){advice}")


def check_study(study: optuna.Study, folder: Path, url: str) -> None:
    """Checks that what a study holds can be read: its file may be damaged, or edited by hand, or made by another program.

    Args:
        study: Result of ``open_study``.
        folder: See ``open_study``.
        url: See ``open_study``.

    Raises:
        CheckpointError: It cannot, or the study does not maximize one figure.
    """
    try:
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise ValueError("its study does not maximize one figure")
        known = study.user_attrs.get(_IDENTITY, {})
        for trial in study.get_trials(deepcopy=False):
            machine, process = trial.user_attrs.get(_PROCESS, ("", 0))
            numbers = [trial.user_attrs.get(key, 0) for key in (EPOCH, SECONDS)]
            whole = isinstance(machine, str) and isinstance(process, int)
            if not whole or any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
                raise ValueError(f"trial {trial.number} has values of other types")
        if not isinstance(known, dict) or not isinstance(known.get(_SPACE, {}), dict):
            raise TypeError("its identity is of another type")
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            drawn = all(isinstance(value, int | float) for value in trial.params.values())
            if trial.params.keys() != known.get(_SPACE, {}).keys() or not drawn or not is_share(trial.value):
                raise ValueError(f"trial {trial.number} has values that no trial has")
    except (*MALFORMED, SQLAlchemyError) as error:
        raise _study_error(_place(folder, url), error) from error


def claim_study(study: optuna.Study, folder: Path, identity: Mapping[str, Any]) -> None:
    """Stores the identity of a new study, or compares it with that of an earlier one.

    Raises:
        ConfigError: The study has another recipe, data set, search space or seed.
    """
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_IDENTITY, identity)
        return
    stored = stored or {}
    for name, value in identity.items():
        if stored.get(name) != value and stored.get(name) != _as_json(value):
            raise ConfigError(
                f"{folder}: its study has another {name}{_difference(stored.get(name), _as_json(value))}; "
                "give another --output, or the same options as before"
            )


def claim_trial(trial: Trial) -> None:
    """Stores the process that trains a trial."""
    trial.set_user_attr(_PROCESS, [socket.gethostname(), os.getpid()])


def release_trials(study: optuna.Study) -> None:
    """Marks the running trials of killed processes as failed, and queues their values again.

    A killed process of this machine is recognized by its id, another one by the age of its last time stamp.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(trial):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            study.enqueue_trial(trial.params)


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Returns whether the process of a running trial is known to have ended."""
    machine, process = trial.user_attrs.get(_PROCESS, ("", 0))
    if machine != socket.gethostname() or sys.platform == "win32":  # there, signal 0 ends a process
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # or no number of a process
        return True
    except PermissionError:  # it runs, for another user
        return False
    return False


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, now: Any) -> str:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return ""
    return f" ({', '.join(sorted(key for key in {*before, *now} if before.get(key) != now.get(key)))})"
