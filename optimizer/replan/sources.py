"""Where prices come from: files, HTTP(S) addresses and commands, all read by one contract.

A source is written ``WHERE[#key=value&…]``: ``prices.csv``, ``https://…/vms.csv#provider=lambda``,
``cmd:./prices.sh#format=yaml``. Keys: ``provider``, ``date`` (ISO) and ``format`` (``csv`` or ``yaml``).
"""

from __future__ import annotations

import datetime
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from catalogs.loading import MAX_FILE_BYTES
from optimizer.replan.book import Quote
from optimizer.replan.formats import Context, Problem, read_quotes

TIMEOUT_S = 60
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
        try:
            request = urllib.request.Request(self.where, headers={"User-Agent": "clusterplan"})
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                content: bytes = response.read(MAX_FILE_BYTES + 1)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DataFileError(f"{self.where}: cannot be fetched ({getattr(error, 'reason', error)})") from None
        return self._bounded(content)

    def _run(self) -> bytes:
        command = self.where.removeprefix(COMMAND)
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    command, shell=True, stdout=output, stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False
                )
            except subprocess.TimeoutExpired:
                raise DataFileError(f"{self.where}: still running after {TIMEOUT_S} s") from None
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing on standard error"]
                raise DataFileError(f"{self.where}: exit code {done.returncode} ({said[0][:200]})")
            output.seek(0)
            return self._bounded(output.read(MAX_FILE_BYTES + 1))

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > MAX_FILE_BYTES:
            raise DataFileError(f"{self.where}: larger than {MAX_FILE_BYTES // 2**20} MiB")
        return content
