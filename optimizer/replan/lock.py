"""One run at a time: a lock that the operating system (or the database) drops when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from catalogs.errors import ClusterplanError

ADVISORY_KEY = 0x636C7573
POLL_S = 0.05


@contextmanager
def exclusive(engine: sa.Engine, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the history's lock.

    Raises:
        ClusterplanError: another run holds it, and still does after ``wait_s``.
    """
    if engine.dialect.name == "sqlite":
        path = Path(f"{engine.url.database}.lock")
        try:
            file = path.open("a")
        except OSError as error:
            raise ClusterplanError(f"{path}: cannot be locked ({error.strerror})") from None
        with file:
            _wait(lambda: _flock(file.fileno()), wait_s)
            yield
        return
    with engine.connect() as connection:
        _wait(lambda: bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_KEY))).scalar()), wait_s)
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(ADVISORY_KEY)))


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
