"""From a sweep file and flags to scenarios: every value read once, every mistake told with its place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError, DataFileError, UnknownNameError, UsageError
from catalogs.loading import read_yaml, yaml_line
from catalogs.naming import unknown_name
from catalogs.profile import Precision
from catalogs.quantity import COUNT_UNITS, DURATION_UNITS, parse_positive, parse_quantity
from catalogs.resolve import resolve_model
from costmodels.recipe import MOMENT_BYTES
from optimizer.job import Job, RecoveryName
from optimizer.market import check_names
from optimizer.request import read_job
from optimizer.sweep.market import CATALOG_PRICES, OWN_FABRIC, Market

MAX_SCENARIOS = 100_000
"""Most combinations of one sweep; a grid above this is more likely a mistake than a question."""

SECTIONS = ("fixed", "vary")


@dataclass(frozen=True)
class Scenario:
    """One combination.

    Attributes:
        values: the fields as they were written, fixed ones first, varied ones in the order of the sweep.
        job: the question that they mean.
        prices: the price book (``catalog``: the catalog's own offers).
        fabric: the network between servers (``own``: that of each server).
    """

    values: dict[str, Any]
    job: Job
    prices: str
    fabric: str


@dataclass(frozen=True)
class Grid:
    """All scenarios of a sweep, the last varied field changing fastest.

    Attributes:
        varied: names of the fields that differ between scenarios.
        scenarios: every combination.
        market: catalog, price books and fabrics to plan them in.
    """

    varied: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    market: Market


@dataclass(frozen=True)
class Given:
    """One value of one field, as written and where."""

    field: str
    value: Any
    where: str
    error: type[ClusterplanError]

    def read(self, market: Market) -> Any:
        """The value as :func:`optimizer.request.read_job` takes it.

        Raises:
            DataFileError: it is wrong and stands in a file; the message has file and line.
            UsageError: it is wrong and was given as a flag.
        """
        try:
            return READERS[self.field](self.value, market)
        except UsageError as error:
            raise self.error(f"{self.where}: {error}") from None


def read_grid(
    catalog: Catalog,
    path: Path | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
) -> Grid:
    """The scenarios of a sweep file, of flags, or of both.

    Args:
        catalog: where names are looked up.
        path: a YAML file with ``vary`` (a list of values per field) and ``fixed`` (one value per field).
        flags: values per field; one value fixes the field, several vary it.

    Raises:
        DataFileError: the file is broken; the message has file and line.
        UsageError: a flag is wrong, a field is given twice, or model or tokens are missing.
    """
    market = Market(catalog)
    given: dict[str, list[Given]] = {}
    varied: list[str] = []
    for name, values in _of_file(path) if path else ():
        given[name] = values
        if len(values) > 1:
            varied.append(name)
    for name, texts in (flags or {}).items():
        flag = f"--{name.replace('_', '-')}"
        if name in given:
            raise UsageError(f"{flag}: {path} gives {name} too; give it in one place")
        given[name] = [Given(name, text, flag, UsageError) for text in texts]
        if len(texts) > 1:
            varied.append(name)
    for name in ("model", "tokens"):
        if name not in given:
            raise UsageError(f"no {name}: give it with --{name} or in a sweep file (docs/sweeps.md)")
    names = [*(name for name in given if name not in varied), *varied]
    count = 1
    for name in names:
        count *= len(given[name])
        texts = [repr(one.value) for one in given[name]]
        if twice := next((one for one in given[name] if texts.count(repr(one.value)) > 1), None):
            raise twice.error(f"{twice.where}: {name} has {twice.value!r} twice")
    if count > MAX_SCENARIOS:
        raise UsageError(f"{count:,} combinations; a sweep has at most {MAX_SCENARIOS:,}, split it")
    read = {name: [(one.value, one.read(market)) for one in given[name]] for name in names}
    scenarios = [
        _scenario(names, combination, market, str(path or "flags"))
        for combination in itertools.product(*(read[name] for name in names))
    ]
    return Grid(tuple(varied), tuple(scenarios), market)


def _of_file(path: Path) -> list[tuple[str, list[Given]]]:
    """The fields of a sweep file with their values."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise DataFileError(f"{path}:1: expected 'vary:' with a list of values per field (docs/sweeps.md)")
    given: dict[str, list[Given]] = {}
    for section, fields in content.items():
        if section not in SECTIONS:
            raise DataFileError(f"{_at(path, section)}: {unknown_name('section', str(section), SECTIONS)}")
        if not isinstance(fields, dict):
            raise DataFileError(f"{_at(path, section)}: expected fields under '{section}:'")
        for name, value in fields.items():
            if name not in READERS:
                raise DataFileError(f"{_at(path, section, name)}: {unknown_name('field', str(name), READERS)}")
            if name in given:
                raise DataFileError(f"{_at(path, section, name)}: {name} is both fixed and varied")
            if section == "fixed":
                given[name] = [Given(name, value, _at(path, section, name), DataFileError)]
            elif not isinstance(value, list) or not value:
                raise DataFileError(f"{_at(path, section, name)}: expected a list of values to vary {name} over")
            else:
                given[name] = [
                    Given(name, one, _at(path, section, name, place), DataFileError) for place, one in enumerate(value)
                ]
    return list(given.items())


def _at(path: Path, *location: Any) -> str:
    return f"{path}:{yaml_line(path, location)}"


def _scenario(names: Sequence[str], combination: tuple[tuple[Any, Any], ...], market: Market, origin: str) -> Scenario:
    values = {name: value for name, (value, _) in zip(names, combination, strict=True)}
    read = {name: value for name, (_, value) in zip(names, combination, strict=True)}
    prices, fabric = read.pop("prices", CATALOG_PRICES), read.pop("fabric", OWN_FABRIC)
    catalog = market.at(prices, fabric)
    try:
        job = read_job(catalog, **{ARGUMENTS.get(name, name): value for name, value in read.items()})
        check_names(job, catalog)
    except UsageError as error:
        where = ", ".join(f"{name} {value}" for name, value in values.items())
        raise type(error)(f"{origin}: scenario {where}: {error}") from None
    return Scenario(values, job, prices, fabric)


ARGUMENTS = {"deadline": "deadline_s", "framework": "frameworks"}
"""Fields that :func:`optimizer.request.read_job` knows by another name."""


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what}: {value!r} is not a name")
    return value


def _names(value: Any, what: str) -> tuple[str, ...]:
    """Names that belong together: a list, or a text with commas."""
    names = value if isinstance(value, list) else _text(value, what).split(",")
    return tuple(_text(name, what).strip() for name in names)


def _known(kind: str) -> Callable[[Any, Market], tuple[str, ...]]:
    def read(value: Any, market: Market) -> tuple[str, ...]:
        names = _names(value, kind)
        for name in names:
            market.catalog.find(kind, name)
        return names

    return read


def _model(value: Any, market: Market) -> str:
    name = _text(value, "model")
    resolve_model(market.catalog, name)
    return name


def _whole(what: str) -> Callable[[Any, Market], int]:
    def read(value: Any, market: Market) -> int:
        number = parse_positive(value, COUNT_UNITS, what)
        if number != int(number):
            raise UsageError(f"{what}: {value!r} must be a whole number")
        return int(number)

    return read


def _share(what: str) -> Callable[[Any, Market], float]:
    return lambda value, market: parse_quantity(value, {"": 1.0, "%": 0.01}, what)


def _one_of(what: str, known: Sequence[str]) -> Callable[[Any, Market], str]:
    def read(value: Any, market: Market) -> str:
        name = _text(value, what).lower()
        if name not in known:
            raise UnknownNameError(unknown_name(what, name, known))
        return name

    return read


READERS: dict[str, Callable[[Any, Market], Any]] = {
    "model": _model,
    "tokens": lambda value, market: parse_positive(value, COUNT_UNITS, "tokens"),
    "deadline": lambda value, market: parse_positive(value, DURATION_UNITS, "deadline", bare=False),
    "hardware": _known("accelerators"),
    "prices": lambda value, market: market.add_prices(_text(value, "prices")),
    "fabric": lambda value, market: market.add_fabric(_text(value, "fabric")),
    "offers": lambda value, market: _names(value, "offers"),
    "framework": _known("frameworks"),
    "budget_usd": lambda value, market: parse_positive(value, COUNT_UNITS, "budget_usd"),
    "max_accelerators": _whole("max_accelerators"),
    "seq": _whole("seq"),
    "global_batch": _whole("global_batch"),
    "global_batch_tokens": _whole("global_batch_tokens"),
    "precision": _one_of("precision", get_args(Precision)),
    "optimizer": _one_of("optimizer", tuple(MOMENT_BYTES)),
    "goodput": _share("goodput"),
    "recovery": _one_of("recovery", get_args(RecoveryName)),
    "confidence": _share("confidence"),
}
"""The fields of a scenario, and how each is read."""
