"""Storages to keep studies in: files, and databases of servers that the tests start themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extended import mariadb
from tests.replan import postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    if not postgresql.installed():
        pytest.skip(f"no PostgreSQL server under {postgresql.SERVERS}; apt-get install postgresql")
    with postgresql.server() as running:
        yield running


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[mariadb.Server]:
    if not mariadb.installed():
        pytest.skip("no MariaDB server; apt-get install mariadb-server-core mariadb-client-core")
    with mariadb.server() as running:
        yield running


SERVERS = [pytest.param(f"{name}_server", marks=pytest.mark.slow) for name in ("postgresql", "mariadb")]


@pytest.fixture(params=["sqlite:///", "journal:///", *SERVERS])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new storage, of each kind."""
    if "server" in request.param:
        url: str = request.getfixturevalue(request.param).create()
        return url
    return f"{request.param}{tmp_path / 'study'}"
