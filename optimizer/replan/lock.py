"""One run at a time: a lock that the operating system (or the database) drops when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from catalogs.errors import ClusterplanError
from optimizer.replan.database import database_file

ADVISORY_KEY = 0x636C7573
POLL_S = 0.05


@contextmanager
def exclusive(engine: sa.Engine, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the history's lock.

    Raises:
        ClusterplanError: another run holds it, and still does after ``wait_s``.
    """
    if engine.dialect.name == "sqlite":
        path = database_file(engine.url)
        path = path.with_name(f"{path.name}.lock")
        try:
            file = path.open("a")
        except OSError as error:
            raise ClusterplanError(f"{path}: cannot be locked ({error.strerror})") from None
        with file:
            _wait(lambda: _flock(file.fileno()), wait_s)
            yield
        return
    connection = _locked_session(engine, wait_s)
    try:
        yield
    finally:
        connection.close()


def _locked_session(engine: sa.Engine, wait_s: float) -> sa.Connection:
    """A connection that holds the lock as long as it lives."""
    try:
        connection = engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        lock = sa.select(sa.func.pg_try_advisory_lock(ADVISORY_KEY))
        _wait(lambda: bool(connection.execute(lock).scalar()), wait_s)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ClusterplanError(f"the history cannot be locked ({said})") from None
    return connection


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(take: Callable[[], bool], wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while not take():
        if time.monotonic() >= until:
            raise ClusterplanError("another replan holds the history's lock; wait for it, or give --wait")
        time.sleep(POLL_S)
