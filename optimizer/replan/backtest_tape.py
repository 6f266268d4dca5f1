"""Dated price books in order, as a backtest plays them: a market for every night, and every offer's price on it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError
from optimizer.replan.book import Book
from optimizer.replan.integrity import Limits, check
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.layouts_cache import LayoutCache
from optimizer.replan.reprice import Market
from optimizer.replan.sources import Source
from optimizer.replan.standing import Standing


class Tape:
    """Dated price books in order, each with its market, and every offer's price on every night.

    Attributes:
        dates: the nights.
        markets: what was on offer on each.
        catalog: what exists.
    """

    def __init__(self, books: Sequence[tuple[datetime.date, Book]], catalog: Catalog, cache: LayoutCache) -> None:
        self.dates = [date for date, _ in books]
        self.markets = [Market(book, catalog, cache) for _, book in books]
        self.catalog = catalog
        self._usd: dict[str, NDArray[np.float64]] = {}
        for night, (_, book) in enumerate(books):
            for quote in book.quotes:
                usd = quote.per_accelerator * catalog.currencies[quote.currency.lower()].usd
                # Until the next price of the offer, and after it vanished, it costs what it cost last.
                self._usd.setdefault(quote.key, np.full(len(books), np.nan))[night:] = usd
        self._wall_s: dict[tuple[str, str, int, int], float | None] = {}

    def usd(self, key: str, night: int) -> float:
        """Price of an offer on a night, or the last one before it."""
        return float(self._usd[key][night])

    def prices(self, key: str) -> NDArray[np.float64]:
        """Prices of an offer on all nights; NaN before it first appeared."""
        return self._usd[key]

    def wall_s(self, job: PlannedJob, plan: Standing, night: int) -> float | None:
        """Seconds of the whole job on a plan; None where it does not fit."""
        # Physics does not change, but the sites of which the book knows do.
        key = (job.name, plan.key, plan.accelerators, night)
        if key not in self._wall_s:
            self._wall_s[key] = self.markets[night].wall_s(job.job, plan.key, plan.accelerator, plan.accelerators)
        return self._wall_s[key]


def read_tape(
    sources: Sequence[Source], catalog: Catalog, cache: LayoutCache, today: datetime.date, limits: Limits
) -> tuple[Tape, list[str]]:
    """The nights of dated price histories, each book accepted by the rules of a real night, and what was noticed.

    Raises:
        DataFileError: a history cannot be read, a book is refused, or there is one date only.
    """
    read = [(source, *source.read(catalog, today)) for source in sources]
    dates = sorted({quote.date for _, quotes, _ in read for quote in quotes if quote.date <= today.isoformat()})
    if len(dates) < 2:
        raise DataFileError(
            f"{', '.join(source.where for source in sources)}: {len(dates)} dated price books; a backtest replays at "
            "least two (rows need different dates)"
        )
    last: dict[str, tuple[Book, dict[str, float]]] = {}
    nights, notes = [], []
    for text in dates:
        night = datetime.date.fromisoformat(text)
        for source, quotes, problems in read:
            if not any(quote.date <= text for quote in quotes):
                continue
            book, held = last.get(source.where, (None, {}))
            checked = check(
                source.where, quotes, problems, as_of=night, today=today, last=book, held=held, limits=limits
            )
            last[source.where] = checked.book, checked.quarantined
            notes += [f"{night}: {key}: held back at {usd:g}" for key, usd in sorted(checked.quarantined.items())]
        nights.append((night, Book.of(quote for book, _ in last.values() for quote in book.quotes)))
    return Tape(nights, catalog, cache), notes
