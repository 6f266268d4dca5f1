"""The nearest feasible plans to a request that no plan meets: one constraint relaxed at a time, each planned again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError
from costmodels.run import DAY_S
from optimizer.bounds import Objective
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.job import DEFAULT_TENURES, MAX_ACCELERATORS, Job
from optimizer.layout import Layout
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.planning import duration
from optimizer.search import search
from optimizer.site import Site

LONGEST_S = 3 * 365 * DAY_S
"""No later date than this is looked at: bought servers and their prices do not last longer."""

MOST_TIMES, SMALL = 4, 2048
"""A limit on accelerators is raised at most so many times, or to :data:`SMALL`: more is another question."""

ROUNDING = 1e-9
"""Share by which a relaxed limit is above what it lets in."""


@dataclass(frozen=True)
class Nearest:
    """A plan that one relaxed constraint lets in.

    Attributes:
        axis: what was relaxed: ``deadline``, ``budget``, ``hardware``, ``accelerators``, ``offers``; where none of them
            alone is enough, ``budget and deadline`` or ``budget and accelerators``.
        change: in words, with the limit that would do.
        configuration: the cheapest plan under it.
    """

    axis: str
    change: str
    configuration: Configuration

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"axis": self.axis, "change": self.change, "configuration": self.configuration.to_json()}


def nearest(job: Job, catalog: Catalog, *, progress: Callable[[int, int], None] | None = None) -> tuple[Nearest, ...]:
    """The nearest feasible plan on each axis of a job that no plan meets, cheapest first.

    A later date is the earliest at which a plan ends, more money the least, more accelerators the fewest; other
    hardware and other offers are all that the catalog has. Where an axis alone does not help it is left out.

    Args:
        job: the question.
        catalog: what exists.
        progress: called with axes looked at and axes there are.
    """
    axes: tuple[Callable[[Job, Catalog], Iterator[Nearest]], ...]
    axes = (_later, _dearer, _elsewhere, _larger, _otherwise)
    found: list[Nearest] = []
    for done, axis in enumerate(axes, start=1):
        found.extend(axis(job, catalog))
        if progress is not None:
            progress(done, len(axes))
    if not found and math.isfinite(job.budget_usd):
        rich = replace(job, budget_usd=math.inf)
        found = [_with_budget(one) for one in (*_later(rich, catalog, math.inf), *_larger(rich, catalog))]
    return tuple(sorted(found, key=lambda one: (one.configuration.cost_usd or 0.0, one.axis)))


def _with_budget(one: Nearest) -> Nearest:
    change = f"{one.change}, and ${one.configuration.cost_usd or 0.0:,.0f}"
    return replace(one, axis=f"budget and {one.axis}", change=change)


def _later(job: Job, catalog: Catalog, longest_s: float = LONGEST_S) -> Iterator[Nearest]:
    if not math.isfinite(job.deadline_s):
        return
    first = _best(replace(job, deadline_s=max(longest_s, job.deadline_s)), catalog, "time")
    if first is None:
        return
    sure = NormalDist().inv_cdf(job.confidence)
    physics, count = first.physics, np.asarray(float(first.accelerators))
    sigma = float(physics.days_sigma(count, np.asarray(first.wall_s), physics.goodput(count)))
    date_s = first.wall_s * math.exp(sure * sigma) * (1 + ROUNDING)
    one = _best(replace(job, deadline_s=date_s), catalog)
    if one is not None:
        yield _told("deadline", f"{duration(date_s)} instead of {duration(job.deadline_s)}", one)


def _dearer(job: Job, catalog: Catalog) -> Iterator[Nearest]:
    if not math.isfinite(job.budget_usd):
        return
    one = _best(replace(job, budget_usd=math.inf), catalog)
    if one is not None:
        yield _told("budget", f"${one.cost_usd:,.0f} instead of ${job.budget_usd:,.0f}", one)


def _elsewhere(job: Job, catalog: Catalog) -> Iterator[Nearest]:
    if not job.hardware:
        return
    one = _best(
        replace(job, hardware=(), frameworks=()),
        catalog,
        keep=lambda site: site.accelerator.name not in job.hardware,
    )
    if one is not None:
        yield _told("hardware", f"{one.site.accelerator.name} instead of {', '.join(job.hardware)}", one)


def _larger(job: Job, catalog: Catalog) -> Iterator[Nearest]:
    most = min(max(MOST_TIMES * job.max_accelerators, SMALL), MAX_ACCELERATORS)
    fewest = _best(replace(job, max_accelerators=most), catalog, "accelerators")
    if fewest is None:
        return
    one = _best(replace(job, max_accelerators=fewest.accelerators), catalog)
    if one is not None:
        yield _told("accelerators", f"at most {fewest.accelerators:,} instead of {job.max_accelerators:,}", one)


def _otherwise(job: Job, catalog: Catalog) -> Iterator[Nearest]:
    if not job.offers and job.tenures == DEFAULT_TENURES:
        return
    one = _best(replace(job, offers=(), tenures=DEFAULT_TENURES), catalog)
    if one is not None:
        yield _told("offers", f"{one.tariff.price.offer.name} instead of the offers named", one)


def _best(
    job: Job, catalog: Catalog, objective: Objective = "cost", *, keep: Callable[[Site], bool] = lambda _: True
) -> Leader | None:
    """The best plan of a job (None: there is none)."""
    try:
        found, _ = sites(job, catalog)
    except ClusterplanError:  # nothing is offered under this change
        return None
    leaders, _ = search(job, [site for site in found if keep(site)], catalog, objective, keep=1)
    return leaders[0] if leaders else None


def _told(axis: str, change: str, one: Leader) -> Nearest:
    return Nearest(axis, change, configure(one.physics, Layout.of(one.layout), one.tariff))
