"""A PostgreSQL server of one's own, from Debian's package: a folder, a Unix socket in it, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from optimizer.replan.database import database_url

SERVERS = Path("/usr/lib/postgresql")
"""Where Debian's package puts initdb and pg_ctl, one folder per version."""


class Server:
    """A throw-away PostgreSQL: a folder, a Unix socket in it, no network."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self.binaries, self.folder, self.user = binaries, folder, user
        self._numbers = count()
        self._call("initdb", "-D", str(folder / "data"), "-U", "planner", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c autovacuum=off"
        self._call(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "-l", str(self.folder / "log"), "start"
        )

    def stop(self) -> None:
        """As a crash would: nothing is finished first."""
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://planner@/{database}?host={self.folder}"

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"history{next(self._numbers)}"
        engine = sa.create_engine(database_url(self.url("postgres")), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {name}"))
        engine.dispose()
        return self.url(name)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def installed() -> list[Path]:
    """The folders of the programs of every installed version, oldest first."""
    return sorted((path.parent for path in SERVERS.glob("*/bin/initdb")), key=lambda path: int(path.parts[-2]))


@contextmanager
def server() -> Iterator[Server]:
    """A running server of the newest installed version; it and its databases are gone afterwards, come what may."""
    binaries = installed()[-1]
    # Short, for the path of a Unix socket is at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="clusterplan-", dir="/tmp"))
    # The server refuses to run as root.
    user = "postgres" if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    # Waits for the end of this process, however that comes: then its standard input closes.
    end = 'read _; "$0" -D "$1/data" -m immediate stop >"$1/end" 2>&1; rm -r "$1"'
    command = ["sh", "-c", end, str(binaries / "pg_ctl"), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, user=user, cwd="/"):
        yield Server(binaries, folder, user)
