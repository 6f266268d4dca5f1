"""Histories to test with: SQLite files, and databases of a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

FreshHistory = Callable[[], str]

SERVERS = Path("/usr/lib/postgresql")
"""Where Debian's package puts initdb and pg_ctl, one folder per version."""


class Server:
    """A throw-away PostgreSQL: a folder, a Unix socket in it, no network."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries, self.folder = binaries, folder
        # The server refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._call("initdb", "-D", str(folder / "data"), "-U", "planner", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._call(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "-l", str(self.folder / "log"), "start"
        )

    def stop(self) -> None:
        """As a crash would: nothing is finished first."""
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://planner@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        engine = sa.create_engine(
            self.url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {database}"))
        engine.dispose()
        return self.url(database)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    found = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip(f"no PostgreSQL server under {SERVERS}; apt-get install postgresql")
    # Short, for the path of a Unix socket is at most 107 bytes, and open to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="clusterplan-", dir="/tmp"))
    running = Server(found[-1].parent, folder)
    yield running
    running.stop()
    shutil.rmtree(folder)


_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_history(request: pytest.FixtureRequest, tmp_path: Path) -> FreshHistory:
    """Makes the URL of a new, empty history with every call, on each kind of database."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"history{next(_numbers)}.db")
    running: Server = request.getfixturevalue("server")
    return lambda: running.create(f"history{next(_numbers)}")


@pytest.fixture
def history_url(fresh_history: FreshHistory) -> str:
    """The URL of a new, empty history."""
    return fresh_history()
