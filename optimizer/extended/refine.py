"""From a job to a plan beyond the enumerable space, never worse than the exact optimum it starts from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.expert_overlap import told_exchange
from optimizer.extended.candidate import EXTENSIONS, Candidate, Extension
from optimizer.extended.describe import described
from optimizer.extended.problem import Objective, Problem
from optimizer.extended.sampler import SamplerName, default_sampler
from optimizer.extended.settle import Settled, best, front
from optimizer.extended.storage import shown
from optimizer.extended.study import Sampling
from optimizer.extended.workers import Task, run_workers
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.planning import SCHEMA_VERSION
from optimizer.search import search
from optimizer.site import Site

POINTS = 2000
"""Points sampled unless told otherwise."""

STARTS = 12
"""Exact solutions of different structure to start from."""


@dataclass(frozen=True)
class Search:
    """How a refined plan was found.

    Attributes:
        sampler, seed, workers: as asked for.
        points: sampled in the study, by all processes.
        candidates: different ones among them.
        lost_workers: processes that died.
        storage, study: where the study is kept (None: nowhere).
        interrupted: whether an interrupt ended it early.
    """

    sampler: SamplerName
    seed: int
    workers: int
    points: int
    candidates: int
    lost_workers: int
    storage: str | None
    study: str | None
    interrupted: bool


@dataclass(frozen=True)
class Refined:
    """The answer: the exact optimum of the enumerable space, and what is better beyond it.

    Attributes:
        problem: the question, and every candidate that was looked at.
        start: the exact optimum (None if nothing enumerable meets the constraints).
        plans: the best plan, or with several objectives those that no other one beats, best first.
        search: how they were found.
        assumptions: what the figures rest on, in words.
    """

    problem: Problem
    start: Configuration | None
    plans: tuple[Settled, ...]
    search: Search
    assumptions: tuple[str, ...]

    @property
    def gain(self) -> float | None:
        """Share of the cost of the exact optimum that the cheapest plan saves."""
        if self.start is None or not self.start.cost_usd:
            return None
        return 1.0 - min(one.outcome.cost_usd for one in self.plans) / self.start.cost_usd

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema (docs/json-schema.md)."""
        plans = [described(self.problem, one) for one in self.plans]
        return {
            "schema_version": SCHEMA_VERSION,
            "objectives": list(self.problem.objectives),
            "extend": [name for name in EXTENSIONS if name in self.problem.extend],
            "best": plans[0],
            "front": plans if len(self.problem.objectives) > 1 else None,
            "start": None if self.start is None else self.start.to_json(),
            "gain": self.gain,
            "search": dict(self.search.__dict__),
            "assumptions": list(self.assumptions),
        }


def refine(
    job: Job,
    catalog: Catalog | None = None,
    *,
    extend: Sequence[Extension] = tuple(EXTENSIONS),
    objectives: Sequence[Objective] = ("cost",),
    batch_range: float = 0.0,
    points: int = POINTS,
    sampler: SamplerName | None = None,
    seed: int = 0,
    workers: int = 1,
    storage: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Refined:
    """The best plan of the extended space that is found within so many points; the same seed finds the same.

    With one worker the result is deterministic. An interrupt (Ctrl-C) gives the best so far.

    Args:
        job: the question.
        catalog: what exists; the shipped catalog if not given.
        extend: what is added to the enumerable space.
        objectives: what is minimised; several give the plans that no other one beats.
        batch_range: share by which the global batch may differ (with ``batch`` in ``extend``).
        points: sampled in all, those already in the storage counted.
        sampler: the recommended one for the objectives if not given.
        seed: of the sampler.
        workers: processes; more than one needs a storage.
        storage: URL; the study is kept there and goes on where it ended. None: in memory.
        progress: called with points sampled and points wanted.

    Raises:
        InfeasibleError: nothing that was found meets the constraints.
        UsageError: senseless arguments, or a storage that cannot be opened.
        UnknownNameError, UnsupportedError: the job names something that does not exist.
    """
    _check(job, extend, objectives, batch_range, points, workers, storage)
    catalog = catalog or Catalog()
    chosen = sampler or default_sampler(objectives)
    found, _ = sites(job, catalog)
    leaders = _exact(job, found, catalog, objectives)
    most_usd = leaders[0].cost_usd if leaders and tuple(objectives) == ("cost",) else math.inf
    problem = Problem(job, found, catalog, frozenset(extend), objectives, batch_range, most_usd)
    if not problem.grounds:
        raise InfeasibleError("no plan: no accelerator meets the deadline, however it is used")
    more = _exact(job, problem.uncapped, catalog, objectives) if "offers" in extend else []
    starts = problem.starts([*leaders, *more])
    problem.evaluate(starts)
    task = Task(
        job=job,
        sites=tuple(ground.site for ground in problem.grounds),
        catalog=catalog,
        extend=frozenset(extend),
        objectives=tuple(objectives),
        batch_range=batch_range,
        sampler=chosen,
        seed=seed,
        storage=storage,
    )
    lost, interrupted = 0, False
    with task.open() as shared:
        sampling = Sampling(problem, chosen, seed, shared, worker=workers)
        try:
            lost = _sample(task, sampling, starts, points, workers, progress)
        except KeyboardInterrupt:
            interrupted = True
            sampling.catch_up()
    plans = tuple(front(problem)) if len(objectives) > 1 else tuple(one for one in (best(problem),) if one)
    if not plans:
        raise InfeasibleError(
            f"none of {len(problem.known):,} candidates meets the constraints; see what binds with 'clusterplan plan', "
            "or sample more with --trials"
        )
    return Refined(
        problem=problem,
        start=_configuration(leaders[0]) if leaders else None,
        plans=plans,
        search=Search(
            sampler=chosen,
            seed=seed,
            workers=workers,
            points=sampling.points,
            candidates=len(problem.known),
            lost_workers=lost,
            storage=None if storage is None else shown(storage),
            study=task.study if storage else None,
            interrupted=interrupted,
        ),
        assumptions=_assumptions(problem, plans, catalog),
    )


def _check(
    job: Job,
    extend: Sequence[Extension],
    objectives: Sequence[Objective],
    batch_range: float,
    points: int,
    workers: int,
    storage: str | None,
) -> None:
    if job.recovery == "replica":
        raise UsageError("jobs that recover by replica cannot be refined: their layouts must hold the state twice")
    if points < 1 or workers < 1:
        raise UsageError("--trials and --workers must be at least 1")
    if workers > 1 and storage is None:
        raise UsageError("several workers need a storage that they share")
    if not objectives or len(set(objectives)) < len(objectives):
        raise UsageError("name every objective once")
    if "risk" in objectives and math.isinf(job.deadline_s):
        raise UsageError("the risk of being late needs a deadline")
    if not 0 <= batch_range <= 0.5:
        raise UsageError(f"--batch-range is a share from 0 to 0.5, not {batch_range:g}")
    if batch_range and "batch" not in extend:
        raise UsageError("--batch-range needs batch among the extensions")


def _exact(job: Job, found: Sequence[Site], catalog: Catalog, objectives: Sequence[Objective]) -> list[Leader]:
    """Exact solutions of the enumerable space, the best first: of one objective, or the front."""
    if tuple(objectives) == ("cost",):
        return search(job, list(found), catalog, keep=STARTS)[0]
    if tuple(objectives) == ("days",):
        return search(job, list(found), catalog, "time", keep=STARTS)[0]
    return search(job, list(found), catalog, front=True)[0]


def _sample(
    task: Task,
    sampling: Sampling,
    starts: Sequence[Candidate],
    points: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> int:
    """Sample until the study has so many points; gives how many processes died."""
    lost, before = 0, sampling.points
    if workers > 1 and before < points:
        lost = run_workers(task, starts, points - before, workers, lambda done: progress(before + done, points))
        sampling.catch_up()
    before = sampling.points
    if before < points:
        sampling.start_from(starts)
        sampling.run(points - before, lambda done: progress(before + done, points))
    return lost


def _configuration(leader: Leader) -> Configuration:
    return configure(leader.physics, Layout.of(leader.layout), leader.tariff)


def _assumptions(problem: Problem, plans: Sequence[Settled], catalog: Catalog) -> tuple[str, ...]:
    job = problem.job
    said = list(job.assumptions)
    how = "by the size of the cluster (docs/goodput.md)" if job.goodput is None else "as given"
    said.append(f"goodput {plans[0].outcome.goodput:.1%}, {how}")
    said.extend(f"extended by {text}" for name, text in EXTENSIONS.items() if name in problem.extend)
    low, high = problem.domain.batch
    said.append(f"global batch of {math.ceil(low):,} to {math.floor(high):,} sequences")
    for one in plans:
        ground = problem.grounds[one.candidate.site]
        site = ground.site
        said += told_exchange(one.candidate.ep, ground.expert_overlap(one.candidate), site.framework)
        said.extend(site.notes)
        if site.profile_note:
            said.append(f"{site.accelerator.name}: {site.profile_note}")
        for name in one.outcome.servers:
            offer = catalog.offers[name]
            said.append(
                f"price {name}: {offer.price:g} {offer.currency} per {offer.unit.replace('_', '-')}, {offer.date}, "
                f"{offer.sources.get('*', '')}"
            )
    return tuple(dict.fromkeys(said))
