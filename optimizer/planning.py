"""From a job to a plan: search, assemble, explain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, RefutedError
from costmodels.run import DAY_S
from optimizer.certificate import Certificate
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.expert_overlap import told_exchange
from optimizer.explain import losing_neighbours, told_goodput
from optimizer.failure_rates import failure_rate
from optimizer.job import EVEN, Job
from optimizer.layout import Layout
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.search import search, unseen
from optimizer.site import Refusal, Site
from optimizer.trust import told_scale

SCHEMA_VERSION = "1"


@dataclass(frozen=True)
class Plan:
    """The answer to a job.

    Attributes:
        job: the question.
        best: the cheapest configuration that meets it.
        alternatives: runners-up of different structure, and the best of every other hardware that was named.
        rejected: what loses or was not considered, with the reason.
        certificate: what the search covered.
        assumptions: what the figures rest on, in words.
        failure_rate: accelerator-hours between interruptions of the best plan's hardware (None: the goodput is stated).
    """

    job: Job
    best: Configuration
    alternatives: tuple[Configuration, ...]
    rejected: tuple[Refusal, ...]
    certificate: Certificate
    assumptions: tuple[str, ...]
    failure_rate: Assumption | None

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema (docs/json-schema.md)."""
        proof = self.certificate
        return {
            "schema_version": SCHEMA_VERSION,
            "job": job_json(self.job),
            "best": self.best.to_json(),
            "alternatives": [one.to_json() for one in self.alternatives],
            "rejected": [{"what": one.what, "reason": one.reason} for one in self.rejected],
            "certificate": {
                "space": proof.space,
                "evaluated": proof.evaluated,
                "pruned": proof.pruned,
                "pruned_bound": _finite(proof.bound),
                "gap": proof.gap(self.best.cost_usd or 0.0),
                "interrupted": proof.interrupted,
                "proved_rows": proof.proved_rows,
                "dimensions": proof.dimensions,
            },
            "assumptions": list(self.assumptions),
            "failure_rate": None if self.failure_rate is None else self.failure_rate.to_json(),
        }


def job_json(job: Job) -> dict[str, Any]:
    """The question as understood, for JSON."""
    return {
        "model": job.model.name,
        "tokens": job.tokens,
        "deadline_days": _finite(job.deadline_s / DAY_S),
        "confidence": job.confidence,
        "budget_usd": _finite(job.budget_usd),
        "seq": job.seq,
        "global_batch": job.global_batch,
        "max_accelerators": job.max_accelerators,
        "hardware": list(job.hardware),
        "recovery": job.recovery if job.goodput is None else None,
    }


def plan(
    job: Job,
    catalog: Catalog | None = None,
    *,
    top: int = 5,
    within: float | None = None,
    prove: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The cheapest feasible plan for a job.

    An interrupt (Ctrl-C) during the search gives the best plan so far; its certificate says how far it may be off.

    Args:
        job: the question.
        catalog: what exists; the shipped catalog if not given.
        top: how many alternatives to keep.
        within: keep every plan of different structure that costs at most this share more than the best, instead of
            ``top`` ones.
        prove: search again without any bound, and check that the answer is the same.
        progress: called with rows accounted for and rows in the space.

    Raises:
        InfeasibleError: nothing meets the constraints; the message says what comes nearest.
        UnknownNameError, UnsupportedError: the job names something that does not exist.
        RefutedError: the search without bounds found a better plan (a defect).
    """
    catalog = catalog or Catalog()
    found, refused = sites(job, catalog)
    leaders: list[Leader] = []
    certificate = Certificate()
    for group in _groups(job, found):
        if certificate.interrupted:
            certificate = certificate.merge(unseen(job, group, catalog))
            continue
        keep = top + 1 if within is None else None
        ranked, part = search(job, group, catalog, keep=keep, within=within, progress=progress)
        leaders.extend(ranked)
        certificate = certificate.merge(part)
    if not leaders and certificate.interrupted:
        raise KeyboardInterrupt
    if not leaders:
        raise InfeasibleError(_why_nothing(job, found, catalog))
    leaders.sort(key=lambda one: one.order)
    winner = leaders[0]
    if prove and not certificate.interrupted:
        certificate.proved_rows = _prove(job, found, catalog, winner)
    if within is None:
        chosen = _alternatives(leaders, top, named=bool(job.hardware))
    else:
        chosen = [one for one in leaders[1:] if one.score <= winner.score * (1 + within)]
    best = _configuration(winner)
    others = tuple(_configuration(one) for one in chosen)
    rejected = (
        *losing_neighbours(job, winner, best),
        *_losing_hardware(job, best, leaders, certificate, found),
        *refused,
    )
    said = _assumptions(job, winner, others, found, catalog)
    rate = None if job.goodput is not None else failure_rate(winner.site.accelerator, catalog).told
    return Plan(job, best, others, rejected, certificate, said, rate)


def pareto(
    job: Job, catalog: Catalog | None = None, *, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Configuration], Certificate]:
    """Every configuration that no other one beats in cost, days and accelerators together, cheapest first.

    Exact: every row that fits the memory and meets the constraints is looked at.

    Raises:
        InfeasibleError: nothing meets the constraints.
        UnknownNameError, UnsupportedError: the job names something that does not exist.
    """
    catalog = catalog or Catalog()
    found, _ = sites(job, catalog)
    leaders, certificate = search(job, found, catalog, front=True, progress=progress)
    if not leaders and certificate.interrupted:
        raise KeyboardInterrupt
    if not leaders:
        raise InfeasibleError(_why_nothing(job, found, catalog))
    return [_configuration(one) for one in leaders], certificate


def _prove(job: Job, found: list[Site], catalog: Catalog, winner: Leader) -> int:
    """Rows looked at by a search without bounds, which must find the same best plan."""
    ranked, certificate = search(job, found, catalog, keep=1, prune=False)
    if ranked[0].order != winner.order:
        raise RefutedError(
            f"the search without bounds found a better plan: {_money(ranked[0].cost_usd)} instead of "
            f"{_money(winner.cost_usd)} ({ranked[0].layout}); please report this"
        )
    return certificate.evaluated


def _configuration(leader: Leader) -> Configuration:
    return configure(leader.physics, Layout.of(leader.layout), leader.tariff)


def _groups(job: Job, found: list[Site]) -> list[list[Site]]:
    """Hardware that was named is searched on its own, so that each gets its best plan; else all compete."""
    if not job.hardware:
        return [found]
    by_name: dict[str, list[Site]] = {}
    for site in found:
        by_name.setdefault(site.accelerator.name, []).append(site)
    return list(by_name.values())


def _alternatives(leaders: list[Leader], top: int, *, named: bool) -> list[Leader]:
    """Runners-up: the best of every other named hardware first, then the cheapest other structures."""
    winner, rest = leaders[0], leaders[1:]
    firsts: dict[str, Leader] = {}
    if named:
        for one in rest:
            name = one.site.accelerator.name
            if name != winner.site.accelerator.name:
                firsts.setdefault(name, one)
    chosen = list(firsts.values())[:top]
    chosen += [one for one in rest if one not in chosen][: max(top - len(chosen), 0)]
    return sorted(chosen, key=lambda one: one.order)


def _losing_hardware(
    job: Job, best: Configuration, leaders: list[Leader], certificate: Certificate, found: list[Site]
) -> list[Refusal]:
    """Why each other accelerator is not the answer."""
    refusals = []
    best_cost = best.cost_usd or 0.0
    by_name: dict[str, Leader] = {}
    for one in leaders:
        by_name.setdefault(one.site.accelerator.name, one)
    for name in dict.fromkeys(site.accelerator.name for site in found):
        if name == best.hardware:
            continue
        if name in by_name:
            other = by_name[name]
            reason = f"its best plan costs {_money(other.cost_usd)}, {_more(other.cost_usd, best_cost)} than the best"
        else:
            floor = certificate.floors.get(name, math.inf)
            if math.isfinite(floor) and floor > best_cost:
                reason = f"cannot cost less than {_money(floor)}, {_more(floor, best_cost)} than the best"
            elif math.isfinite(floor):
                reason = "no plan within the constraints is cheaper than the last alternative"
            else:
                reason = f"no layout of its space meets the deadline with at most {job.max_accelerators} accelerators"
        refusals.append((name, reason, certificate.floors.get(name, math.inf)))
    refusals.sort(key=lambda one: (one[2], one[0]))
    return [Refusal(name, reason) for name, reason, _ in refusals]


def _more(cost: float, than: float) -> str:
    ratio = cost / than
    return f"{ratio:.1f}× as much" if ratio >= 2 else f"{100 * (ratio - 1):.1f}% more"


def _money(usd: float) -> str:
    if usd >= 1e12:
        return f"${usd:.3g}"
    if usd >= 1e6:
        return f"${usd / 1e6:,.2f}M"
    return f"${usd:,.0f}" if usd >= 10 else f"${usd:.2f}"


def duration(seconds: float) -> str:
    """A wall-clock time for people.

    >>> duration(90 * DAY_S), duration(41.27 * DAY_S), duration(90.0), duration(9000.0)
    ('90 days', '41.3 days', '90 s', '2.5 h')
    """
    if seconds >= 1e7 * DAY_S:
        return f"{seconds / DAY_S:.3g} days"
    for scale, unit in ((DAY_S, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * scale:
            return (
                f"{round(seconds / scale, 1):g} {unit}" if seconds < 1e5 * scale else f"{seconds / scale:,.0f} {unit}"
            )
    return f"{seconds:.3g} s"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _why_nothing(job: Job, found: list[Site], catalog: Catalog) -> str:
    """What comes nearest to a job that no plan meets: one constraint relaxed at a time."""
    if math.isfinite(job.budget_usd):
        cheapest, _ = search(replace(job, budget_usd=math.inf), found, catalog, keep=1)
        if cheapest:
            over = cheapest[0].cost_usd - job.budget_usd
            return (
                f"no plan within {_money(job.budget_usd)}: the cheapest that meets the other constraints costs "
                f"{_money(over)} more, {_describe(cheapest[0])}"
            )
    fastest, _ = search(replace(job, budget_usd=math.inf, deadline_s=math.inf), found, catalog, "time", keep=1)
    if fastest:
        one = fastest[0]
        needs = ""
        surely = f", to be met with a probability of {job.confidence:.0%}" if job.confidence > EVEN else ""
        if one.accelerators >= 0.9 * job.max_accelerators:
            needs = f"; the limit of {job.max_accelerators} accelerators binds, raise it with --max-accelerators"
        return (
            f"no plan: the fastest feasible finishes in {duration(one.wall_s)} and needs "
            f"{_describe(one)}, the deadline is {duration(job.deadline_s)}{surely}{needs}"
        )
    names = ", ".join(dict.fromkeys(site.accelerator.name for site in found))
    return (
        f"no plan: no layout of {job.model.name} fits the memory of {names} with at most {job.max_accelerators} "
        f"accelerators; allow more accelerators, other hardware, recomputation or offload"
    )


def _describe(one: Leader) -> str:
    offer = one.tariff.price.offer
    return f"{_money(one.cost_usd)} on {one.accelerators} {offer.accelerator} ({offer.name})"


def _assumptions(
    job: Job, winner: Leader, others: tuple[Configuration, ...], found: list[Site], catalog: Catalog
) -> tuple[str, ...]:
    """Everything the figures rest on, in words."""
    used = {winner.site.accelerator.name, *(one.hardware for one in others)}
    said = list(job.assumptions)
    if not math.isfinite(job.deadline_s):
        said.append("no deadline: the cheapest plan, however long it takes")
    best = _configuration(winner)
    said.append(told_goodput(best, job, catalog))
    said += told_exchange(best.layout.ep, best.expert_overlap, winner.site.framework)
    said += told_scale(winner.site.profile, best.accelerators)
    if job.batch_tolerance > 0:
        said.append(
            f"global batch of {job.global_batch} sequences, up to {job.batch_tolerance:.0%} more or less so that it "
            "divides over the replicas"
        )
    said.append(f"at most {job.max_accelerators} accelerators, whole servers, optimizer {job.optimizer}")
    tenures = ", ".join(t.replace("_", " ") for t in job.tenures)
    said.append(
        f"offers considered: {', '.join(job.offers) or tenures}; a purchase is charged in full, with spare servers and "
        "its power; storage for checkpoints and data, egress, network, housing and staff are billed by compare alone"
    )
    if winner.tariff.price.bought and job.goodput is None and job.recovery == "automatic":
        waits = float(winner.tariff.waiting_share(np.asarray(float(best.servers))))
        said.append(
            f"{best.spares} spare servers: for {waits:.1%} of the time all are in repair and the job waits for one, "
            "which the days do not count; compare does, and weighs more spares against it"
        )
    for site in found:
        if site.accelerator.name not in used:
            continue
        said.extend(site.notes)
        if site.profile_note:
            said.append(f"{site.accelerator.name}: {site.profile_note}")
        if site.accelerator.estimated:
            said.append(f"{site.accelerator.name}: estimated in the catalog: {', '.join(site.accelerator.estimated)}")
        if site.accelerator.export_note:
            said.append(f"{site.accelerator.name}: {site.accelerator.export_note}")
    for offer in dict.fromkeys((winner.tariff.price.offer.name, *(one.offer for one in others if one.offer))):
        record = catalog.offers[offer]
        said.append(
            f"price {record.name}: {record.price:g} {record.currency} per {record.unit.replace('_', '-')}, "
            f"{record.date}, {record.sources.get('*', '')}{' (' + record.notes + ')' if record.notes else ''}"
        )
    return tuple(dict.fromkeys(said))
