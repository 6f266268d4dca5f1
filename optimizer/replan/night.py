"""One night: read the sources, check them, decide every job, and hand back what is to be recorded."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UsageError
from optimizer.replan.book import Book
from optimizer.replan.decide import decide
from optimizer.replan.history import Night, SourceBook, proposed_plans, standing_plans
from optimizer.replan.integrity import Limits, check
from optimizer.replan.jobs import JobsFile, Rules, jobs_of
from optimizer.replan.layouts_cache import LayoutCache, formulas_digest
from optimizer.replan.offer_key import offer_words
from optimizer.replan.reprice import Market
from optimizer.replan.sources import Source
from optimizer.replan.standing import Standing, standing_of
from optimizer.replan.verdict import ACTIONS, Verdict, with_news

NOTHING, ACTION, INFEASIBLE = 0, 10, 11
"""Exit codes of a night."""


def read_books(
    sources: Sequence[Source],
    known: Mapping[str, tuple[datetime.date, SourceBook]],
    catalog: Catalog,
    as_of: datetime.date,
    today: datetime.date,
    limits: Limits,
) -> tuple[tuple[SourceBook, ...], tuple[str, ...]]:
    """The book of every source, the last good one where a source fails, and what was noticed.

    Args:
        sources: where prices are read.
        known: the last good book by source, and the night that read it.
        catalog: what exists.
        as_of: the night.
        today: no price can be later.
        limits: what a book must pass.

    Raises:
        DataFileError: a source fails that never had a good book.
        UsageError: a source is named twice.
    """
    places = [source.where for source in sources]
    if twice := sorted({place for place in places if places.count(place) > 1}):
        raise UsageError(f"--prices {twice[0]} is named twice; a book may have one set of options")
    books, notes = [], []
    for source in sources:
        night, good = known.get(source.where, (as_of, None))
        # Only a later night confirms a held price: the same night again reads the same book.
        held = good.held if good and night < as_of else None
        try:
            quotes, problems = source.read(catalog, as_of)
            checked = check(
                source.where, quotes, problems, as_of=as_of, today=today,
                last=good.book if good else None, held=held, limits=limits,
            )  # fmt: skip
        except DataFileError as error:
            if good is None:
                raise
            age = (as_of - datetime.date.fromisoformat(good.book.date)).days
            old = f"{age} days old" if age >= 0 else "later than this night"
            notes.append(f"{error}; the last good prices are used, {old} ({good.book.date})")
            books.append(SourceBook(source.where, good.book, good.held, fresh=False))
            continue
        notes += [*checked.notes, *(f"{offer_words(key)}: no longer offered" for key in checked.vanished)]
        books.append(SourceBook(source.where, checked.book, checked.quarantined))
    return tuple(books), tuple(notes)


def plan_night(
    jobs: JobsFile,
    books: Sequence[SourceBook],
    notes: Sequence[str],
    before: Night | None,
    catalog: Catalog,
    cache: LayoutCache,
    rules: Rules,
    as_of: datetime.date,
    tool: str,
    *,
    plans: dict[str, Standing] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Night:
    """Decide every job; nothing is recorded.

    Args:
        jobs: the jobs.
        books: tonight's prices by source.
        notes: what was noticed about them.
        before: the night before.
        catalog: what exists.
        cache: layouts evaluated before.
        rules: of the run.
        as_of: the night.
        tool: version of clusterplan.
        plans: what stands for jobs that do not run; by default what stood after the night before.
        progress: called with jobs decided and jobs in all.
    """
    book = Book.of(quote for one in books for quote in one.book.quotes)
    market = Market(book, catalog, cache)
    stands = standing_plans(before) if plans is None else plans
    open_advice = proposed_plans(before)
    known = {one.job: one for one in before.verdicts} if before else {}
    verdicts = []
    for job in sorted(jobs.jobs, key=lambda one: one.name):
        standing = standing_of(job, stands.get(job.name), market)
        proposed = open_advice.get(job.name)
        if proposed and standing and (proposed.key, proposed.accelerators) == (standing.key, standing.accelerators):
            proposed = None  # it was accepted
        verdict = decide(job, standing, market, as_of, proposed)
        verdicts.append(with_news(verdict, known.get(job.name), job.rules))
        if progress is not None:
            progress(len(verdicts), len(jobs.jobs))
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
        verdicts=tuple(verdicts),
    )


def accept(
    names: Sequence[str], jobs: JobsFile, before: Night | None, as_of: datetime.date
) -> tuple[dict[str, Standing], list[str]]:
    """The plans that stand once the advice on some jobs is accepted, and the jobs for which that changes something.

    Args:
        names: jobs, or ``all`` for every one with open advice.
        jobs: the jobs file; what runs stands there, in ``current``.
        before: the night whose advice is accepted.
        as_of: the day from which the plans stand.

    Raises:
        UsageError: a job is unknown, runs, or has no advice to accept.
    """
    stands, advice = standing_plans(before), proposed_plans(before)
    running = {job.name for job in jobs.jobs if job.entry.current}
    if "all" in names:
        names = [name for name in advice if name not in running]
    adopted = []
    for name in names:
        if name in running:
            raise UsageError(f"--accept {name}: it runs; write where it runs now into its 'current' in the jobs file")
        if name not in advice and name not in stands:
            open_names = ", ".join(sorted(advice.keys() - running)) or "none"
            raise UsageError(f"--accept {name}: nothing is advised for it (open advice: {open_names})")
        if name in advice:
            stands[name] = replace(advice[name], since=as_of.isoformat())
            adopted.append(name)
    return stands, adopted


def replay(night: Night, before: Night | None, catalog: Catalog, cache: LayoutCache) -> Night:
    """Decide a recorded night again, from its own jobs, books and the plans that stood in it."""
    rules = Rules(**night.rules)
    jobs = jobs_of(night.jobs, catalog, rules, f"night {night.id}")
    plans = standing_plans(night)
    return plan_night(
        jobs, night.sources, night.notes, before, catalog, cache, rules, night.as_of, night.tool, plans=plans
    )


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 nothing to do, 10 action advised, 11 some job infeasible."""
    kinds = {one.kind for one in verdicts}
    if "infeasible" in kinds:
        return INFEASIBLE
    return ACTION if kinds & set(ACTIONS) else NOTHING


def changed(night: Night, before: Night | None) -> list[Verdict]:
    """The verdicts that are news: another advice than the night before, or a price that rose far above the last told.

    Keeping what was advised is no news.
    """
    known = {one.job: one for one in before.verdicts} if before else {}
    news = []
    for one in night.verdicts:
        old = known.get(one.job)
        risen = old is not None and old.told_usd is not None and one.told_usd != old.told_usd and _same_plan(one, old)
        if old is None or risen or (one.identity != old.identity and not _as_advised(one, old)):
            news.append(one)
    return news


def _same_plan(one: Verdict, old: Verdict) -> bool:
    return one.plan is not None and old.plan is not None and one.plan.key == old.plan.key


def _as_advised(one: Verdict, old: Verdict) -> bool:
    """Whether a job keeps what stood, or was advised, the night before."""
    plan = old.target or old.standing
    calm = old.kind in ("start", "keep", "switch", "resize")
    return (
        one.kind == "keep" and calm and plan is not None and one.standing is not None
        and (one.standing.key, one.standing.accelerators) == (plan.key, plan.accelerators)
    )  # fmt: skip
