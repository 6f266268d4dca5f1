"""The database of a history: a SQLite file or PostgreSQL, with the same guarantees on both.

Writing transactions come one after the other; a reading transaction sees one state of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalogs.errors import UsageError

CONNECT_TIMEOUT_S = 10
WRITE_KEY = 0x636C7577
"""Advisory lock of PostgreSQL that a writing transaction holds until it ends."""

_WRITES = "clusterplan_writes"


def database_url(text: str) -> sa.URL:
    """The address of a history as the user writes it: a file name or a SQLAlchemy URL.

    Raises:
        UsageError: it is no URL, or one of another kind of database.

    >>> database_url("nights.db").render_as_string()
    'sqlite:///nights.db'
    >>> database_url("postgresql://planner@db/nights").drivername
    'postgresql+psycopg'
    """
    if "://" not in text:
        return _file_url(sa.URL.create("sqlite", database=text))
    try:
        url = sa.engine.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError("--history is no database URL; write postgresql://USER@HOST/DATABASE or a file name") from None
    if url.get_backend_name() in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg") if "+" not in url.drivername else url
    if url.get_backend_name() != "sqlite":
        raise UsageError(f"--history {url.get_backend_name()}://…: a history is a SQLite file or a PostgreSQL database")
    return _file_url(url)


def _file_url(url: sa.URL) -> sa.URL:
    if url.database in (None, "", ":memory:"):
        raise UsageError("--history without a file forgets everything; name a file")
    return url


def database_file(url: sa.URL) -> Path:
    """The file of a SQLite database, links followed, so that two names of it are one."""
    return Path(str(url.database).removeprefix("file:")).resolve()


def open_engine(url: sa.URL) -> sa.Engine:
    """An engine without a pool: a connection lives as long as its transaction."""
    if url.get_backend_name() != "sqlite":
        arguments = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    # We begin transactions ourselves: Python's driver would commit every CREATE TABLE on its own.
    @sa.event.listens_for(engine, "connect")
    def no_driver_transactions(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees the database as it was at its first question."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that waits for other writing ones, and is there whole or not at all."""
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITE_KEY)))
        yield connection
