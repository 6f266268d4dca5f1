"""Histories to test with: SQLite files, and databases of a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from catalogs import Catalog
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.replan import postgresql
from tests.replan.nights import Nights
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


CATALOG = Catalog()


@pytest.fixture
def warm_cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:  # noqa: F811
    """The command in this process, with the shipped catalog read once for all tests."""
    monkeypatch.setattr("optimizer.cli.layers.open_catalog", lambda _: CATALOG)
    return cli


@pytest.fixture
def nights(tmp_path: Path, history_url: str, warm_cli: Cli) -> Nights:
    """Nights at the command line, on each kind of database."""
    return Nights(tmp_path, history_url, warm_cli)


@pytest.fixture
def file_nights(tmp_path: Path, warm_cli: Cli) -> Nights:
    """Nights at the command line, in a SQLite file."""
    return Nights(tmp_path, str(tmp_path / "history.db"), warm_cli)
