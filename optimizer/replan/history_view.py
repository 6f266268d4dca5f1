"""Recorded nights to look at: lists, differences of two nights, and a job's price and cost over time."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from catalogs.errors import DataFileError
from optimizer.replan.book import Book
from optimizer.replan.database import reading
from optimizer.replan.history import BOOKS, NIGHTS, SOURCES, VERDICTS, History, Night
from optimizer.replan.verdict import Verdict


@dataclass(frozen=True)
class Entry:
    """A night in a list.

    Attributes:
        night: its number.
        as_of: its date.
        exit_code: of the run.
        tool: version of clusterplan.
        inputs: digest of everything it was decided from.
        kinds: how many verdicts of each kind.
    """

    night: int
    as_of: str
    exit_code: int
    tool: str
    inputs: str
    kinds: dict[str, int]


@dataclass(frozen=True)
class Point:
    """A job on a night.

    Attributes:
        night, as_of: the night.
        job: the job.
        kind: the verdict.
        offer, accelerators: the plan that it has, else the one advised ("" and 0: none).
        usd: its price per accelerator-hour (per server when bought).
        advised, advised_accelerators: the plan to move to ("" and 0: none).
        planned_usd: what is left of the job costs on it.
        saving_usd: what the advised move saves.
        ends: when the plan ends.
        reason: of the verdict.
    """

    night: int
    as_of: str
    job: str
    kind: str
    offer: str
    accelerators: int
    usd: float | None
    advised: str
    advised_accelerators: int
    planned_usd: float | None
    saving_usd: float | None
    ends: str | None
    reason: str

    @classmethod
    def of(cls, night: int, as_of: str, verdict: Verdict) -> Point:
        """The point of a verdict."""
        plan, target = verdict.plan, verdict.target
        planned = verdict.keep_usd if verdict.standing else verdict.change_usd
        return cls(
            night=night,
            as_of=as_of,
            job=verdict.job,
            kind=verdict.kind,
            offer=plan.key if plan else "",
            accelerators=plan.accelerators if plan else 0,
            usd=plan.usd if plan else None,
            advised=target.key if target else "",
            advised_accelerators=target.accelerators if target else 0,
            planned_usd=planned,
            saving_usd=verdict.saving_usd,
            ends=verdict.ends,
            reason=verdict.reason,
        )

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def entries(history: History) -> list[Entry]:
    """All nights, oldest first."""
    columns = (NIGHTS.c.id, NIGHTS.c.as_of, NIGHTS.c.exit_code, NIGHTS.c.tool, NIGHTS.c.inputs)
    counts = sa.select(VERDICTS.c.night, VERDICTS.c.kind, sa.func.count()).group_by(VERDICTS.c.night, VERDICTS.c.kind)
    with history.said(DataFileError, "read"), reading(history.engine) as connection:
        kinds: dict[int, dict[str, int]] = {}
        for night, kind, count in connection.execute(counts.order_by(VERDICTS.c.night, VERDICTS.c.kind)):
            kinds.setdefault(int(night), {})[str(kind)] = int(count)
        rows = connection.execute(sa.select(*columns).order_by(NIGHTS.c.id)).all()
    return [Entry(row.id, row.as_of, row.exit_code, row.tool, row.inputs, kinds.get(row.id, {})) for row in rows]


def find(history: History, text: str) -> Night:
    """A night by number or date (the last one of that date).

    Raises:
        DataFileError: there is none.
    """
    numbers = history.numbers()
    found = [one[0] for one in numbers if text in (str(one[0]), one[1])]
    if not found:
        known = f"{numbers[0][0]} to {numbers[-1][0]}, {numbers[0][1]} to {numbers[-1][1]}" if numbers else "none yet"
        raise DataFileError(f"history has no night {text!r}; give a number or a date (recorded: {known})")
    return history.night(found[-1])


def points(history: History, jobs: Sequence[str] = ()) -> list[Point]:
    """Every verdict (on some jobs), by night and job.

    Raises:
        DataFileError: no night knows one of the jobs.
    """
    asked = (
        sa.select(NIGHTS.c.id, NIGHTS.c.as_of, VERDICTS.c.body)
        .join(VERDICTS, VERDICTS.c.night == NIGHTS.c.id)
        .order_by(NIGHTS.c.id, VERDICTS.c.job)
    )
    if jobs:
        asked = asked.where(VERDICTS.c.job.in_(jobs))
    with history.said(DataFileError, "read"), reading(history.engine) as connection:
        rows = connection.execute(asked).all()
    found = [Point.of(row.id, row.as_of, Verdict.from_json(json.loads(row.body))) for row in rows]
    if missing := sorted(set(jobs) - {one.job for one in found}):
        raise DataFileError(f"history has no job {missing[0]!r}")
    return found


def price_rows(history: History) -> list[dict[str, Any]]:
    """Every price of every night's books, by night and offer."""
    asked = (
        sa.select(NIGHTS.c.id, NIGHTS.c.as_of, SOURCES.c.source, SOURCES.c.book)
        .join(SOURCES, SOURCES.c.night == NIGHTS.c.id)
        .order_by(NIGHTS.c.id, SOURCES.c.source)
    )
    with history.said(DataFileError, "read"), reading(history.engine) as connection:
        nights = connection.execute(asked).all()
        stored = connection.execute(sa.select(BOOKS.c.digest, BOOKS.c.quotes)).all()
    books = {row.digest: Book.from_rows(json.loads(row.quotes)) for row in stored}
    return [
        {"night": row.id, "as_of": row.as_of, "book": row.source} | {name: getattr(quote, name) for name in _QUOTE}
        for row in nights
        for quote in books[row.book].quotes
    ]


_QUOTE = (
    "provider", "region", "instance", "accelerator", "count", "tenure", "price", "currency", "unit", "date", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What changed from one night to another.

    Attributes:
        jobs: per job with another verdict, plan, advice, price, cost or end: its points on both nights (None: not
            there).
        prices: per offer with another price: key, price before and after, each as its source states it (None: not
            offered).
        rules: rules that differ, before and after.
        tools: versions, if they differ.
    """

    jobs: list[tuple[Point | None, Point | None]]
    prices: list[tuple[str, float | None, float | None]]
    rules: dict[str, tuple[Any, Any]]
    tools: tuple[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return {
            "jobs": [{"before": a and a.to_json(), "after": b and b.to_json()} for a, b in self.jobs],
            "prices": [{"offer": key, "before": before, "after": after} for key, before, after in self.prices],
            "rules": {name: {"before": before, "after": after} for name, (before, after) in self.rules.items()},
            "tools": list(self.tools) if self.tools else None,
        }


def diff(before: Night, after: Night) -> Difference:
    """What changed between two nights."""
    a, b = _points(before), _points(after)
    jobs = [(a.get(job), b.get(job)) for job in sorted(a.keys() | b.keys()) if _shown(a.get(job)) != _shown(b.get(job))]
    old, new = _prices(before), _prices(after)
    prices = [
        (key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    ]
    names = sorted(before.rules.keys() | after.rules.keys())
    rules = {name: (before.rules.get(name), after.rules.get(name)) for name in names}
    return Difference(
        jobs,
        prices,
        {name: pair for name, pair in rules.items() if pair[0] != pair[1]},
        (before.tool, after.tool) if before.tool != after.tool else None,
    )


def _points(night: Night) -> dict[str, Point]:
    return {one.job: Point.of(night.id, night.as_of.isoformat(), one) for one in night.verdicts}


def _shown(point: Point | None) -> tuple[object, ...]:
    if point is None:
        return ()
    plans = point.offer, point.accelerators, point.advised, point.advised_accelerators
    return point.kind, *plans, point.usd, point.planned_usd, point.ends


def _prices(night: Night) -> dict[str, float]:
    return {quote.key: quote.price for one in night.sources for quote in one.book.quotes}


def forgettable(history: History, before: datetime.date) -> list[int]:
    """Nights older than a date that the next night does not need."""
    needed = history.needed()
    return [number for number, as_of, *_ in history.numbers() if as_of < before.isoformat() and number not in needed]
