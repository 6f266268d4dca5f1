"""A MariaDB server of one's own, from Debian's package: a folder, a Unix socket in it, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa

NEEDED = ("mariadbd", "mariadb-install-db", "my_print_defaults")
_PATH = f"{os.environ['PATH']}:/usr/sbin"


def installed() -> bool:
    """Whether the programs of Debian's mariadb-server-core and mariadb-client-core are here."""
    return all(shutil.which(name, path=_PATH) for name in NEEDED)


class Server:
    """A throw-away MariaDB."""

    def __init__(self, folder: Path) -> None:
        self.socket, self._numbers = folder / "s", count()

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"study{next(self._numbers)}"
        engine = sa.create_engine(self._url("mysql+pymysql", ""), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {name}"))
        engine.dispose()
        return self._url("mysql", name)

    def _url(self, kind: str, database: str) -> str:
        return f"{kind}://root@/{database}?unix_socket={self.socket}"


@contextmanager
def server() -> Iterator[Server]:
    """A running server; it and its databases are gone afterwards."""
    # Short, for the path of a Unix socket is at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="clusterplan-", dir="/tmp"))
    user = f"--user={'root' if os.getuid() == 0 else os.environ.get('USER', '')}"
    data, environment = f"--datadir={folder / 'data'}", os.environ | {"PATH": _PATH}
    method = "--auth-root-authentication-method=normal"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", data, user, method, "--skip-test-db"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    options = [
        f"--socket={folder / 's'}",
        f"--log-error={folder / 'log'}",
        "--skip-networking",
        "--innodb-flush-log-at-trx-commit=0",
    ]
    running = subprocess.Popen(
        ["mariadbd", "--no-defaults", data, user, *options],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (folder / "s").exists():
            assert running.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield Server(folder)
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(folder)
