"""One night: read the sources, check them, decide every job, and hand back what is to be recorded."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError
from optimizer.replan.book import Book
from optimizer.replan.decide import ACTIONS, Standing, Verdict, decide, standing_of
from optimizer.replan.history import Night, SourceBook, standing_plans
from optimizer.replan.integrity import Limits, check
from optimizer.replan.jobs import JobsFile, Rules, jobs_of
from optimizer.replan.layouts_cache import LayoutCache, formulas_digest
from optimizer.replan.reprice import Market
from optimizer.replan.sources import Source

NOTHING, ACTION, INFEASIBLE = 0, 10, 11
"""Exit codes of a night."""


def read_books(
    sources: Sequence[Source],
    last: Night | None,
    catalog: Catalog,
    as_of: datetime.date,
    today: datetime.date,
    limits: Limits,
) -> tuple[tuple[SourceBook, ...], tuple[str, ...]]:
    """The book of every source, the last good one where a source fails, and what was noticed.

    Raises:
        DataFileError: a source fails that never had a good book.
    """
    before = {one.source: one for one in last.sources} if last else {}
    # Only a later night confirms a held price: the same night again reads the same book.
    confirms = last is not None and last.as_of < as_of
    books, notes = [], []
    for source in sources:
        good = before.get(source.where)
        try:
            quotes, problems = source.read(catalog, as_of)
            checked = check(
                source.where, quotes, problems, as_of=as_of, today=today,
                last=good.book if good else None, held=good.held if good and confirms else None, limits=limits,
            )  # fmt: skip
        except DataFileError as error:
            if good is None:
                raise
            age = (as_of - datetime.date.fromisoformat(good.book.date)).days
            notes.append(f"{error}; the last good prices are used, {age} days old ({good.book.date})")
            books.append(SourceBook(source.where, good.book, good.held, fresh=False))
            continue
        notes += [*checked.notes, *(f"{key}: no longer offered" for key in checked.vanished)]
        books.append(SourceBook(source.where, checked.book, checked.quarantined))
    return tuple(books), tuple(notes)


def plan_night(
    jobs: JobsFile,
    books: Sequence[SourceBook],
    notes: Sequence[str],
    plans: dict[str, Standing],
    catalog: Catalog,
    cache: LayoutCache,
    rules: Rules,
    as_of: datetime.date,
    tool: str,
) -> Night:
    """Decide every job; nothing is recorded."""
    book = Book.of(quote for one in books for quote in one.book.quotes)
    market = Market(book, catalog, cache)
    verdicts = tuple(
        decide(job, standing_of(job, plans.get(job.name), market), market, as_of)
        for job in sorted(jobs.jobs, key=lambda one: one.name)
    )
    inputs = [as_of.isoformat(), jobs.digest, sorted(one.book.digest for one in books), formulas_digest(), tool]
    return Night(
        as_of=as_of,
        inputs=hashlib.sha256(json.dumps(inputs).encode()).hexdigest(),
        tool=tool,
        exit_code=exit_code(verdicts),
        jobs=jobs.entries,
        rules=rules.model_dump(),
        notes=tuple(notes),
        sources=tuple(books),
        verdicts=verdicts,
    )


def replay(night: Night, before: Night | None, catalog: Catalog, cache: LayoutCache) -> Night:
    """Decide a recorded night again, from its own jobs, books and the plans that stood before it."""
    rules = Rules(**night.rules)
    jobs = jobs_of(night.jobs, catalog, rules, f"night {night.id}")
    return plan_night(
        jobs, night.sources, night.notes, standing_plans(before), catalog, cache, rules, night.as_of, night.tool
    )


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 nothing to do, 10 action advised, 11 some job infeasible."""
    kinds = {one.kind for one in verdicts}
    if "infeasible" in kinds:
        return INFEASIBLE
    return ACTION if kinds & set(ACTIONS) else NOTHING


def changed(night: Night, before: Night | None) -> list[Verdict]:
    """The verdicts that are news: another advice than the night before (keeping what was advised is none)."""
    known = {one.job: one for one in before.verdicts} if before else {}
    news = []
    for one in night.verdicts:
        old = known.get(one.job)
        if old is None or (one.identity != old.identity and not _as_advised(one, old)):
            news.append(one)
    return news


def _as_advised(one: Verdict, old: Verdict) -> bool:
    """Whether a job keeps what stood, or was advised, the night before."""
    plan = old.target or old.standing
    calm = old.kind in ("start", "keep", "switch", "resize")
    return (
        one.kind == "keep" and calm and plan is not None and one.standing is not None
        and (one.standing.key, one.standing.accelerators) == (plan.key, plan.accelerators)
    )  # fmt: skip
