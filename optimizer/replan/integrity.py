"""What a book must pass before it replaces the last good one of its source."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from catalogs.errors import DataFileError
from optimizer.replan.book import Book, Quote
from optimizer.replan.formats import Problem
from optimizer.replan.offer_key import offer_words

CONFIRMED_WITHIN = 0.1
"""A jump is believed when the next book repeats it within this share."""


@dataclass(frozen=True)
class Limits:
    """When a book is refused or a price held back.

    Attributes:
        jump: factor by which a price may change between two books of a source.
        broken_share: share of broken rows above which the whole book is refused.
        stale_days: age of the newest price above which the book is called stale.
    """

    jump: float = 3.0
    broken_share: float = 0.2
    stale_days: int = 45


@dataclass(frozen=True)
class Checked:
    """An accepted book, and everything that was noticed.

    Attributes:
        book: what is used from now on.
        problems: rows that are not used, with the reason.
        quarantined: the new price of every offer that jumped, by key; the last good price stays in the book.
        vanished: keys that the last book had.
        notes: what a reader must know, in words.
    """

    book: Book
    problems: tuple[Problem, ...] = ()
    quarantined: dict[str, float] = field(default_factory=dict)
    vanished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check(
    origin: str,
    quotes: Sequence[Quote],
    problems: Sequence[Problem],
    *,
    as_of: datetime.date,
    today: datetime.date,
    last: Book | None = None,
    held: dict[str, float] | None = None,
    limits: Limits = Limits(),
) -> Checked:
    """Accept a book or refuse it.

    Args:
        origin: the source, for messages.
        quotes: what :func:`~optimizer.replan.formats.read_quotes` found.
        problems: the rows that it could not use.
        as_of: the night; of a dated history the latest snapshot up to it counts.
        today: no price can be later.
        last: the last good book of the source.
        held: prices quarantined in the last book, by key.
        limits: when to refuse.

    Raises:
        DataFileError: the book is refused; the message has the file, the row and the reason.
    """
    found = [p for p in problems if p.broken]
    skipped = tuple(p for p in problems if not p.broken)
    usable: list[Quote] = []
    for quote in quotes:
        if quote.date > today.isoformat():
            found.append(Problem(origin, quote.line, f"date {quote.date} is in the future"))
        else:
            usable.append(quote)
    usable, conflicts = _without_conflicts(origin, usable)
    found += conflicts
    total = len(usable) + len(found)
    if not usable or len(found) > limits.broken_share * total:
        first = found[0] if found else skipped[0] if skipped else Problem(origin, 1, "no prices")
        more = f" (and {len(found) - 1} more of {total} rows)" if len(found) > 1 else ""
        raise DataFileError(f"{first}{more}")
    snapshot = _snapshot(usable, as_of)
    if not snapshot:
        raise DataFileError(f"{origin}:{usable[0].line}: no price is dated {as_of} or before")
    kept, quarantined = _held_back(snapshot, last, held or {}, limits)
    book = Book.of(kept)
    notes = [f"{origin}: {one.reason}, line {one.line}: row not used" for one in found]
    notes += [
        f"{offer_words(key)}: {price:g} is more than {limits.jump:g} times away from the last price; "
        "held back until it is repeated"
        for key, price in sorted(quarantined.items())
    ]
    age = (as_of - datetime.date.fromisoformat(book.date)).days
    if age > limits.stale_days:
        notes.append(f"{origin}: stale, its newest price is {age} days old ({book.date})")
    vanished = tuple(sorted(last.by_key.keys() - book.by_key.keys())) if last else ()
    return Checked(book, (*found, *skipped), quarantined, vanished, tuple(notes))


def _without_conflicts(origin: str, quotes: list[Quote]) -> tuple[list[Quote], list[Problem]]:
    """Zones repeat a region's price: equal rows are one, different currencies of one offer contradict each other."""
    known: dict[tuple[str, str], Quote] = {}
    problems = []
    for quote in quotes:
        other = known.setdefault((quote.key, quote.date), quote)
        if other is quote:
            continue
        if (other.currency, other.unit) != (quote.currency, quote.unit):
            problems.append(Problem(origin, quote.line, f"same offer as line {other.line} in another currency or unit"))
        elif quote.price < other.price:
            known[quote.key, quote.date] = quote  # the cheapest zone is the region's price
    return list(known.values()), problems


def _snapshot(quotes: list[Quote], as_of: datetime.date) -> list[Quote]:
    """The latest price of every source date up to the night: of a history, only its latest snapshot."""
    past = [quote for quote in quotes if quote.date <= as_of.isoformat()]
    per_key: dict[str, int] = {}
    for quote in past:
        per_key[quote.key] = per_key.get(quote.key, 0) + 1
    if max(per_key.values(), default=0) <= 1:
        return past
    latest = max(quote.date for quote in past)
    return [quote for quote in past if quote.date == latest]


def _held_back(
    quotes: list[Quote], last: Book | None, held: dict[str, float], limits: Limits
) -> tuple[list[Quote], dict[str, float]]:
    kept, quarantined = [], {}
    for quote in quotes:
        before = last.by_key.get(quote.key) if last else None
        if before is None or before.currency != quote.currency or before.unit != quote.unit:
            kept.append(quote)
            continue
        ratio = quote.price / before.price
        repeated = quote.key in held and abs(quote.price / held[quote.key] - 1) <= CONFIRMED_WITHIN
        if max(ratio, 1 / ratio) > limits.jump and not repeated:
            quarantined[quote.key] = quote.price
            kept.append(before)
        else:
            kept.append(quote)
    return kept, quarantined
