"""Where prices come from: files, HTTP(S) addresses and commands, all read by one contract.

A source is written ``WHERE[#key=value&…]``: ``prices.csv``, ``https://…/vms.csv#provider=lambda``,
``cmd:./prices.sh#format=yaml``. Keys: ``provider``, ``date`` (ISO) and ``format`` (``csv`` or ``yaml``).
"""

from __future__ import annotations

import datetime
import http.client
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from catalogs.loading import MAX_FILE_BYTES
from optimizer.replan.book import Quote
from optimizer.replan.formats import Context, Problem, read_quotes

TIMEOUT_S = 60.0
COMMAND = "cmd:"
_KEYS = ("provider", "date", "format")


@dataclass(frozen=True)
class Source:
    """One place that prices are read from.

    Attributes:
        where: a path, an ``http(s)://`` address, or ``cmd:`` and a shell command.
        provider, date, format: what the rows do not say.
    """

    where: str
    provider: str = ""
    date: str = ""
    format: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read a source as the user writes it.

        Raises:
            UsageError: an unknown key or a date that is none.

        >>> Source.parse("vms.csv#provider=lambda").provider
        'lambda'
        """
        where, _, options = text.partition("#")
        pairs = dict(parse_qsl(options, keep_blank_values=True))
        unknown = sorted(pairs.keys() - set(_KEYS))
        if unknown or not where:
            raise UsageError(f"--prices {text!r}: write WHERE[#key=value&…] with keys {', '.join(_KEYS)}")
        if pairs.get("date"):
            try:
                datetime.date.fromisoformat(pairs["date"])
            except ValueError:
                raise UsageError(f"--prices {text!r}: date must be YYYY-MM-DD") from None
        return cls(where, **pairs)

    def read(self, catalog: Catalog, as_of: datetime.date) -> tuple[list[Quote], list[Problem]]:
        """The quotes of the source and the rows that cannot be used.

        Raises:
            DataFileError: the source cannot be read; the message has the file, and the row if there is one.
        """
        context = Context(
            origin=self.where,
            accelerators=catalog.accelerators,
            currencies=frozenset(catalog.currencies),
            provider=self.provider,
            date=self.date or as_of.isoformat(),
        )
        if self.where.startswith((COMMAND, "http://", "https://")):
            content = self._run() if self.where.startswith(COMMAND) else self._download()
            with tempfile.TemporaryDirectory() as folder:
                suffix = ".yaml" if self.format == "yaml" or self.where.endswith((".yaml", ".yml")) else ".csv"
                path = Path(folder) / f"prices{suffix}"
                path.write_bytes(content)
                return read_quotes(path, context)
        return read_quotes(Path(self.where), context)

    def _download(self) -> bytes:
        until = time.monotonic() + TIMEOUT_S
        content = bytearray()
        try:
            request = urllib.request.Request(self.where, headers={"User-Agent": "clusterplan"})
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                promised = response.headers.get("Content-Length", "")
                while len(content) <= MAX_FILE_BYTES and (chunk := response.read1(2**16)):
                    content += chunk
                    if time.monotonic() > until:
                        raise DataFileError(f"{self.where}: still arriving after {TIMEOUT_S:g} s")
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DataFileError(f"{self.where}: cannot be fetched ({getattr(error, 'reason', error)})") from None
        except http.client.HTTPException as error:
            raise DataFileError(f"{self.where}: cannot be fetched ({type(error).__name__})") from None
        if promised.isdigit() and len(content) < int(promised):
            raise DataFileError(f"{self.where}: cut off after {len(content)} of {promised} bytes")
        return self._bounded(bytes(content))

    def _run(self) -> bytes:
        command = self.where.removeprefix(COMMAND)
        # In a session of its own, so that whatever it started ends with it.
        with tempfile.TemporaryFile() as errors, subprocess.Popen(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        ) as process:  # fmt: skip
            end = partial(_end_session, process.pid)
            timer = threading.Timer(TIMEOUT_S, end)
            timer.start()
            content: bytes = process.stdout.read(MAX_FILE_BYTES + 1)  # type: ignore[union-attr]
            if len(content) > MAX_FILE_BYTES:
                end()
            process.wait()
            late = not timer.is_alive()
            timer.cancel()
            self._bounded(content)
            if late:
                raise DataFileError(f"{self.where}: still running after {TIMEOUT_S:g} s")
            if process.returncode:
                errors.seek(0)
                lines = errors.read(MAX_FILE_BYTES).decode(errors="replace").strip().splitlines()
                said = lines[-1][:200] if lines else "nothing on standard error"
                raise DataFileError(f"{self.where}: exit code {process.returncode} ({said})")
        return content

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > MAX_FILE_BYTES:
            raise DataFileError(f"{self.where}: larger than {MAX_FILE_BYTES // 2**20} MiB")
        return content


def _end_session(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
