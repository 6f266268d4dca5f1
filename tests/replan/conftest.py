"""Histories to test with: SQLite files, and databases of a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.replan import postgresql
from tests.replan.postgresql import Server

FreshHistory = Callable[[], str]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not postgresql.installed():
        pytest.skip(f"no PostgreSQL server under {postgresql.SERVERS}; apt-get install postgresql")
    with postgresql.server() as running:
        yield running


_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_history(request: pytest.FixtureRequest, tmp_path: Path) -> FreshHistory:
    """Makes the URL of a new, empty history with every call, on each kind of database."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"history{next(_numbers)}.db")
    running: Server = request.getfixturevalue("server")
    return running.create


@pytest.fixture
def history_url(fresh_history: FreshHistory) -> str:
    """The URL of a new, empty history."""
    return fresh_history()
