"""Where a study is kept: an SQLite file, a database server, or a journal file, by URL."""

from __future__ import annotations

import sqlite3
import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, create_study
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from catalogs.errors import UsageError

DEFAULT = "sqlite:///clusterplan-refine.db"
"""An SQLite file in the working directory."""

JOURNAL = "journal:///"
"""Prefix of a journal file's URL."""

BUSY_S = 60.0
"""How long a process waits for others that write to the same SQLite file."""


def open_study(url: str, name: str, objectives: int) -> Study:
    """The study of a name in a storage; it is made if it is not there.

    Raises:
        UsageError: the storage cannot be opened; the message says why.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return create_study(
                storage=_storage(url), study_name=name, directions=["minimize"] * objectives, load_if_exists=True
            )
        except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
            raise UsageError(
                f"--storage {url}: {_first_line(error)}; give sqlite:///FILE, {JOURNAL}FILE, "
                "postgresql://… or mysql://… (with their drivers installed)"
            ) from error


def _storage(url: str) -> BaseStorage:
    if url.startswith(JOURNAL):
        path = Path(url.removeprefix(JOURNAL))
        if not path.parent.is_dir():
            raise ValueError(f"there is no directory {path.parent}")
        return JournalStorage(JournalFileBackend(str(path)))
    if not url.startswith("sqlite"):
        return RDBStorage(url)
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_S}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()  # connections made so far do not know yet
    return storage


def _write_ahead(connection: sqlite3.Connection, _record: object) -> None:
    """Commits that survive the end of the process without waiting for the disk (only a power cut may lose the last)."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
