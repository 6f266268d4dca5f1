"""Where a study is kept: an SQLite file, a database server, or a journal file, by URL."""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, create_study
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from catalogs.errors import UsageError

JOURNAL = "journal:///"
"""Prefix of a journal file's URL."""

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
"""The drivers that the extras of the same names install, for URLs that name none."""

BUSY_S = 60.0
"""How long a process waits for others that write to the same SQLite file."""


TRIES, PAUSE_S = 50, 0.1
"""How often, and after what pause, a storage is opened anew while other processes make its tables."""


@contextmanager
def open_study(url: str, name: str, objectives: int) -> Iterator[Study]:
    """The study of a name in a storage; it is made if it is not there. Its connections are closed at the end.

    Raises:
        UsageError: the storage cannot be opened; the message says why.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            storage = _settled(url)
            study = create_study(
                storage=storage, study_name=name, directions=["minimize"] * objectives, load_if_exists=True
            )
        except (SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"--storage {shown(url)}: {_first_line(error)}; give sqlite:///FILE, {JOURNAL}FILE, "
                "postgresql://… or mysql://… (with the driver: pip install 'clusterplan[postgresql]' or [mysql])"
            ) from error
    try:
        yield study
    finally:
        _close(storage)


def shown(url: str) -> str:
    """A storage's URL as it may be printed: without its password.

    >>> shown("postgresql://planner:secret@db/studies")
    'postgresql://planner:***@db/studies'
    """
    try:
        address = make_url(url)
    except ArgumentError:
        return url
    return url if address.password is None else address.render_as_string(hide_password=True)


def with_driver(address: URL) -> URL:
    """A database's address with the driver that is used where it names none."""
    return address.set(drivername=DRIVERS.get(address.drivername, address.drivername))


def _settled(url: str) -> BaseStorage:
    """The storage, however many processes open it for the first time: whoever finds tables half made looks again."""
    for _ in range(TRIES):
        try:
            return _storage(url)
        except SQLAlchemyError as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
        time.sleep(PAUSE_S)
    return _storage(url)


def _storage(url: str) -> BaseStorage:
    if url.startswith(JOURNAL):
        path = Path(url.removeprefix(JOURNAL))
        if not path.parent.is_dir():
            raise ValueError(f"there is no directory {path.parent}")
        return JournalStorage(JournalFileBackend(str(path)))
    address = with_driver(make_url(url))
    if address.get_backend_name() != "sqlite":
        return RDBStorage(address.render_as_string(hide_password=False))
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_S}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()  # connections made so far do not know yet
    return storage


def _close(storage: BaseStorage) -> None:
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _write_ahead(connection: sqlite3.Connection, _record: object) -> None:
    """Commits that survive the end of the process without waiting for the disk (only a power cut may lose the last)."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
