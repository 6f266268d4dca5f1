"""The formats a price book comes in, recognised by their columns.

Every format turns rows into quotes or problems; a problem is told with its line, and the row is not used.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs.accelerator import Accelerator
from catalogs.errors import DataFileError
from catalogs.loading import read_text, read_yaml
from catalogs.offer import PriceUnit, Tenure
from optimizer.replan.book import TENURES, UNITS, Quote
from optimizer.replan.offer_key import SEPARATOR

MAX_CELL = 500
"""Characters in one cell; real ones have a tenth of it."""

HOURLY_USD_LIMIT = 10_000.0
"""A rent per server-hour above this is a mistake of units (the dearest real server costs about $400)."""

FOREIGN_NAMES: dict[tuple[str, int], str] = {
    ("A100", 0): "a100-sxm-40g",
    ("A100", 40): "a100-sxm-40g",
    ("A100", 80): "a100-sxm-80g",
    ("A100-80GB", 0): "a100-sxm-80g",
    ("V100", 0): "v100-sxm-16g",
    ("V100", 16): "v100-sxm-16g",
    ("V100", 32): "v100-sxm-32g",
    ("V100-32GB", 0): "v100-sxm-32g",
    ("H100", 0): "h100-sxm-80g",
    ("H100", 80): "h100-sxm-80g",
    ("H200", 0): "h200-sxm",
    ("H200", 141): "h200-sxm",
    ("B200", 0): "b200",
    ("B200", 180): "b200",
    ("L40S", 0): "l40s",
    ("L40S", 48): "l40s",
    ("L4", 0): "l4",
    ("L4", 24): "l4",
    ("MI300X", 0): "mi300x",
    ("MI300X", 192): "mi300x",
}
"""Accelerator names of SkyPilot and gpuhunt, with the memory in GB where the source states it (0: it does not)."""

_NUMBER = re.compile(r"^[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?$", re.ASCII)
_SAFE_START = re.compile(r"^[^\s=+\-@|]")


@dataclass(frozen=True)
class Context:
    """What a reader knows beside the file.

    Attributes:
        origin: the source as the user named it.
        accelerators: the catalog's.
        currencies: known ISO codes in lower case.
        provider: provider where the rows name none.
        date: date where the rows have none (ISO).
    """

    origin: str
    accelerators: dict[str, Accelerator]
    currencies: frozenset[str]
    provider: str
    date: str


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used.

    Attributes:
        origin, line: where.
        reason: why, and what would be right.
        broken: False for a row that is fine but nothing for this catalog (an accelerator it does not hold).
    """

    origin: str
    line: int
    reason: str
    broken: bool = True

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}: {self.reason}"


class _RowError(Exception):
    """Why a row is not usable."""

    def __init__(self, reason: str, *, broken: bool = True) -> None:
        super().__init__(reason)
        self.broken = broken


Row = dict[str, str]


def read_quotes(path: Path, context: Context) -> tuple[list[Quote], list[Problem]]:
    """The quotes of a file and the rows that cannot be used.

    Raises:
        DataFileError: the file as a whole is unusable: too large, not UTF-8, no known format, ragged.
    """
    try:
        rows = list(_yaml_rows(path) if path.suffix.lower() in (".yaml", ".yml") else _csv_rows(path))
    except DataFileError as error:
        raise DataFileError(str(error).replace(str(path), context.origin)) from None
    if not rows:
        raise DataFileError(f"{context.origin}:1: no rows; a price book has a header and at least one price")
    needed, parse = _format_of(set(rows[0][1]), context.origin)
    quotes: list[Quote] = []
    problems: list[Problem] = []
    for line, row in rows:
        try:
            if missing := sorted(needed - row.keys()):
                raise _RowError(f"{', '.join(missing)} missing")
            quotes.extend(parse(row, line, context))
        except _RowError as error:
            problems.append(Problem(context.origin, line, str(error), error.broken))
    return quotes, problems


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    text = read_text(path)
    if "\0" in text:
        raise DataFileError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL byte; not a text file")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                if len(set(header)) != len(header):
                    raise DataFileError(f"{path}:{reader.line_num}: a column appears twice")
                continue
            if len(cells) != len(header):
                raise DataFileError(
                    f"{path}:{reader.line_num}: row has {len(cells)} cells, the header {len(header)}; "
                    "the file may be cut off, or a comma stands in a price"
                )
            yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise DataFileError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
    if header and text and not text.endswith(("\n", "\r")):
        raise DataFileError(f"{path}:{reader.line_num}: the last line has no end; the file may be cut off")


def _yaml_rows(path: Path) -> Iterator[tuple[int, Row]]:
    content = read_yaml(path)
    if not isinstance(content, list):
        raise DataFileError(f"{path}:1: expected a list of prices")
    for index, fields in enumerate(content, 1):
        if not isinstance(fields, dict):
            raise DataFileError(f"{path}:{index}: expected a mapping of fields, found {type(fields).__name__}")
        yield index, {str(key): _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> str:
    if isinstance(value, dict):  # sources: {"*": URL}
        return " ".join(str(one) for one in value.values())
    return "" if value is None else str(value)


def _format_of(columns: set[str], origin: str) -> tuple[frozenset[str], Any]:
    for needed, parse in FORMATS:
        if needed <= columns:
            return needed, parse
    nearest = min(FORMATS, key=lambda one: len(one[0] - columns))
    raise DataFileError(
        f"{origin}:1: no known price format; missing column(s) {', '.join(sorted(nearest[0] - columns))} "
        f"(known formats start with: {'; '.join(', '.join(sorted(needed)[:4]) for needed, _ in FORMATS)})"
    )


def _own(row: Row, line: int, context: Context) -> Iterator[Quote]:
    unit = row["unit"]
    tenure = row["tenure"]
    if tenure not in TENURES:
        raise _RowError(f"tenure {tenure!r} is none of {', '.join(TENURES)}")
    if unit not in UNITS or (tenure == "purchase") != (unit == "server"):
        raise _RowError(f"a {tenure} price cannot be per {unit!r}")
    yield _quote(
        row, line, context,
        provider=row["provider"], region=row.get("region", ""), instance=row.get("instance", ""),
        accelerator=row["accelerator"], count=row["accelerators_per_server"], tenure=tenure, price=row["price"],
        unit=unit, currency=row["currency"], date=row["date"], source=row.get("source") or row.get("sources", ""),
        max_servers=row.get("max_servers", ""),
    )  # fmt: skip


def _dated(row: Row, line: int, context: Context) -> Iterator[Quote]:
    columns: tuple[tuple[str, Tenure], ...] = (
        ("on_demand_per_hour_usd", "on_demand"),
        ("spot_per_hour_usd", "spot"),
        ("reserved_1y_per_hour_usd", "reserved_1y"),
        ("reserved_3y_per_hour_usd", "reserved_3y"),
    )
    stated = [(column, tenure) for column, tenure in columns if row.get(column)]
    if not stated:
        raise _RowError("no price in any of the four columns")
    yield from [
        _quote(
            row, line, context,
            provider=row.get("provider") or context.provider or "GCP", region=row["region"], instance=row["instance"],
            accelerator=row["accelerator"], count=row["accel_count"], tenure=tenure, price=row[column],
            unit="server_hour", currency="USD", date=row["date"], source=row.get("source_url", ""),
        )
        for column, tenure in stated
    ]  # fmt: skip


def _skypilot(row: Row, line: int, context: Context) -> Iterator[Quote]:
    if not row["AcceleratorName"]:
        raise _RowError("no accelerator (a CPU instance)", broken=False)
    accelerator = _foreign(row["AcceleratorName"], 0, context)
    catalog = row.get("catalog", "").split("/")
    provider = context.provider or (catalog[1] if len(catalog) > 2 else "")
    if not provider:
        raise _RowError("a SkyPilot catalog does not name its cloud; add #provider=NAME to the source")
    columns: tuple[tuple[str, Tenure], ...] = (("Price", "on_demand"), ("SpotPrice", "spot"))
    stated = [(column, tenure) for column, tenure in columns if row.get(column)]
    if not stated:
        raise _RowError("neither Price nor SpotPrice")
    instance = row["InstanceType"]
    # Zones of a region ask the same: the region is kept.
    yield from [
        _quote(
            row, line, context,
            provider=provider, region=row["Region"], instance=instance, accelerator=accelerator,
            count=row["AcceleratorCount"].removesuffix(".0"), tenure=tenure, price=row[column], unit="server_hour",
            currency="USD", date=context.date, source=context.origin,
        )
        for column, tenure in stated
    ]  # fmt: skip


def _gpuhunt(row: Row, line: int, context: Context) -> Iterator[Quote]:
    if not row["gpu_name"] or row["gpu_count"] in ("", "0"):
        raise _RowError("no accelerator (a CPU instance)", broken=False)
    provider = row.get("provider") or context.provider
    if not provider:
        raise _RowError("a gpuhunt catalog does not name its provider; add #provider=NAME to the source")
    if row["spot"].lower() not in ("true", "false"):
        raise _RowError(f"spot is {row['spot']!r}, neither True nor False")
    memory = row.get("gpu_memory", "").removesuffix(".0")
    yield _quote(
        row, line, context,
        provider=provider, region=row["location"], instance=row["instance_name"],
        accelerator=_foreign(row["gpu_name"], int(memory) if memory.isascii() and memory.isdigit() else 0, context),
        count=row["gpu_count"].removesuffix(".0"), tenure="spot" if row["spot"].lower() == "true" else "on_demand",
        price=row["price"], unit="server_hour", currency="USD", date=context.date, source=context.origin,
    )  # fmt: skip


FORMATS: tuple[tuple[frozenset[str], Any], ...] = (
    (
        frozenset(
            ["provider", "accelerator", "accelerators_per_server", "tenure", "price", "currency", "unit", "date"]
        ),
        _own,
    ),
    (frozenset(["date", "region", "instance", "accelerator", "accel_count", "on_demand_per_hour_usd"]), _dated),
    (frozenset(["InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region"]), _skypilot),
    (frozenset(["instance_name", "location", "price", "gpu_name", "gpu_count", "spot"]), _gpuhunt),
)
"""Columns that a format must have, and what reads one row of it."""


def _foreign(name: str, memory_gb: int, context: Context) -> str:
    known = FOREIGN_NAMES.get((name, memory_gb)) or FOREIGN_NAMES.get((name.upper(), memory_gb))
    known = known or (name.lower() if name.lower() in context.accelerators else None)
    if known is None:
        raise _RowError(f"accelerator {name!r} is not in the catalog", broken=False)
    return known


def _quote(
    row: Row,
    line: int,
    context: Context,
    *,
    provider: str,
    region: str,
    instance: str,
    accelerator: str,
    count: str,
    tenure: Tenure,
    price: str,
    unit: PriceUnit,
    currency: str,
    date: str,
    source: str,
    max_servers: str = "",
) -> Quote:
    if not provider:
        raise _RowError("no provider")
    for what, text in (("provider", provider), ("region", region), ("instance", instance), ("currency", currency)):
        _check_text(what, text)
    if accelerator not in context.accelerators:
        _check_text("accelerator", accelerator)
        raise _RowError(f"accelerator {accelerator!r} is not in the catalog", broken=False)
    if currency.lower() not in context.currencies or currency != currency.upper():
        raise _RowError(f"no exchange rate for currency {currency!r}; add it to currencies/")
    servers = _whole(max_servers, "max_servers") if max_servers else None
    per_server = _whole(count, "accelerators per server")
    amount = _amount(price)
    if unit != "server" and amount > HOURLY_USD_LIMIT and currency == "USD":
        raise _RowError(f"{price} USD per hour is no price of one server; is the unit right?")
    return Quote(
        provider, region, instance, accelerator, per_server, tenure, amount, currency, unit,
        _date(date), source[:MAX_CELL] or context.origin, line, servers,
    )  # fmt: skip


def _check_text(what: str, text: str) -> None:
    if len(text) > MAX_CELL:
        raise _RowError(f"{what} has {len(text)} characters")
    if text and not _SAFE_START.match(text):
        raise _RowError(f"{what} {text[:30]!r} starts like a spreadsheet formula")
    if any(unicodedata.category(character)[0] == "C" for character in text) or SEPARATOR in text:
        raise _RowError(f"{what} {text[:30]!r} holds a control character or a bar")


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < len(text) <= 6 or int(text) == 0:
        raise _RowError(f"{what} is {text[:30]!r}, not a whole number from 1 to 999999")
    return int(text)


def _amount(text: str) -> float:
    """A price above zero, written with digits and a point."""
    if not _NUMBER.match(text):
        raise _RowError(f"price {text[:30]!r} is not a number above zero with a decimal point")
    amount = float(text)
    if not 0 < amount < 1e9:
        raise _RowError(f"price {text[:30]} is not above zero and below 1e9; unknown prices are left out, not zero")
    return amount


def _date(text: str) -> str:
    try:
        if re.fullmatch(r"\d{4}-\d\d", text, re.ASCII):
            text += "-01"
        return datetime.date.fromisoformat(text).isoformat() if len(text) == 10 else _no_date(text)
    except ValueError:
        return _no_date(text)


def _no_date(text: str) -> str:
    raise _RowError(f"date {text[:30]!r} is not YYYY-MM-DD (or YYYY-MM)")
