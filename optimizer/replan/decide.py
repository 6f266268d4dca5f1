"""From a standing plan and a market to a verdict, with its numbers and the price at which it would change.

Only what is left counts: money that is spent is spent, and a committed term is paid whether the job stays or leaves.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optimizer.market import COMMITMENT_S
from optimizer.replan.book import Quote
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.reprice import HOUR_S, Choice, Market

Kind = Literal["start", "keep", "switch", "resize", "warn", "infeasible"]
DAY_S = 86400.0

ACTIONS: tuple[Kind, ...] = ("start", "switch", "resize", "warn")
"""Verdicts that ask somebody to do something."""


@dataclass(frozen=True)
class Standing:
    """The plan that a job has.

    Attributes:
        key: its offer in the price book.
        accelerator, accelerators: its cluster.
        usd: what an accelerator-hour (a server when bought) cost when the plan was made or last priced.
        since: when it was adopted (ISO).
        running: whether the job runs on it.
        fixed: whether ``usd`` is a contract that does not follow the book.
    """

    key: str
    accelerator: str
    accelerators: int
    usd: float
    since: str
    running: bool = False
    fixed: bool = False

    @property
    def tenure(self) -> str:
        """Way of paying."""
        return self.key.rsplit("|", 1)[1]


@dataclass(frozen=True)
class Verdict:
    """What to do about a job.

    Attributes:
        job: its name.
        kind: the advice.
        reason: one sentence for a manager.
        standing: the plan that stands after the night, if there is one.
        target: the plan advised, if it is another one.
        keep_usd: what the rest costs on the standing plan.
        change_usd: what the rest costs on the target, with the move.
        move_usd: the part of it that is the move.
        saving_usd: the difference.
        ends: when the standing plan ends (ISO date).
        flips_at: the price of the best alternative, per accelerator-hour, at which the verdict would change.
        flips_key: the offer that this price is about.
    """

    job: str
    kind: Kind
    reason: str
    standing: Standing | None = None
    target: Standing | None = None
    keep_usd: float | None = None
    change_usd: float | None = None
    move_usd: float | None = None
    saving_usd: float | None = None
    ends: str | None = None
    flips_at: float | None = None
    flips_key: str | None = None

    @property
    def identity(self) -> str:
        """What makes two verdicts the same news: the advice and where it points."""
        to = self.target or self.standing
        return f"{self.kind}|{to.key}|{to.accelerators}" if to else self.kind

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`to_json`."""
        plans = {name: Standing(**fields[name]) if fields[name] else None for name in ("standing", "target")}
        return cls(**{**fields, **plans})


def decide(job: PlannedJob, standing: Standing | None, market: Market, as_of: datetime.date) -> Verdict:
    """The verdict on one job.

    Args:
        job: the job with its progress.
        standing: its plan so far; None for a job that has none.
        market: tonight's prices.
        as_of: the night.
    """
    left = 1.0 - job.tokens_done / job.job.tokens
    begin = max(as_of, job.entry.start or as_of)
    end = job.entry.deadline
    time_s = math.inf if end is None else (end - begin).days * DAY_S
    spent = job.entry.current.spent_usd if job.entry.current else 0.0
    budget = math.inf if job.entry.budget_usd is None else job.entry.budget_usd - spent
    if standing is None:
        return _first(job, market, left, time_s, budget, as_of)
    lost_s = job.entry.switching.lost_hours * HOUR_S if standing.running else 0.0
    kept = _kept(job, standing, market, left, as_of)
    best = market.best(job.job, left, time_s, lost_s) if time_s > lost_s else None
    in_time = kept is not None and kept[1] <= time_s
    affordable = kept is not None and kept[0] <= budget
    if best is None:
        return _no_choice(job, standing, kept, time_s, begin)
    exit_usd = _exit_usd(job, standing, best, as_of)
    move_usd = exit_usd + (best.usd_per_price - _hours_without_loss(best, lost_s)) * best.usd
    change_usd = best.cost_usd + exit_usd
    target = _standing_of(best, as_of, running=standing.running)
    same_offer = best.key == standing.key
    base = Verdict(job.name, "keep", "", standing, None, None, change_usd, move_usd, None)
    if kept is None:
        return replace(
            base, kind="warn", target=target, reason="the standing plan no longer fits; move to " + _told(best)
        )
    keep_usd, keep_s = kept
    saving = keep_usd - change_usd
    base = replace(
        base, keep_usd=keep_usd, saving_usd=saving, ends=_date_after(begin, keep_s), standing=_priced(standing, market)
    )
    if change_usd > budget and not affordable:
        return replace(base, kind="infeasible", reason=f"nothing costs less than the {budget:,.0f} USD that are left")
    if not in_time or not affordable:
        why = f"ends {base.ends}, after the deadline" if not in_time else f"costs {keep_usd:,.0f} USD, above the budget"
        if change_usd > budget:
            return replace(base, kind="warn", reason=f"{why}; no plan within the budget ends in time")
        return replace(base, kind="warn", target=target, reason=f"{why}; {_told(best)} would end in time")
    needed = max(job.rules.min_saving_usd, job.rules.min_saving_share * keep_usd)
    flips = (keep_usd - needed - exit_usd - best.energy_usd) / best.usd_per_price
    if same_offer and best.accelerators == standing.accelerators:
        return replace(base, saving_usd=0.0, move_usd=0.0, change_usd=keep_usd, reason="still the cheapest plan")
    base = replace(base, flips_at=max(flips, 0.0), flips_key=best.key)
    if saving < needed:
        reason = (
            f"the best other plan saves {saving:,.0f} USD, less than the {needed:,.0f} USD that make a move worth it"
        )
        return replace(base, reason=reason)
    rest = (as_of - datetime.date.fromisoformat(standing.since)).days
    if rest < job.rules.cool_down_days:
        days = job.rules.cool_down_days - rest
        return replace(
            base, reason=f"{saving:,.0f} USD could be saved, but the last move is {rest} days old; {days:g} to go"
        )
    return replace(
        base,
        kind="resize" if same_offer else "switch",
        target=target,
        reason=f"{_told(best)} saves {saving:,.0f} USD ({saving / keep_usd:.0%} of what is left), the move included",
    )


def standing_of(job: PlannedJob, recorded: Standing | None, market: Market) -> Standing | None:
    """The plan a job has: what runs, else what history recorded."""
    current = job.entry.current
    if current is None:
        return recorded
    usd = current.usd_per_accelerator_hour
    known = _usd(current.key, market)
    if usd is None and known is None and recorded is not None and recorded.key == current.key:
        known = recorded.usd
    return Standing(
        key=current.key,
        accelerator=current.accelerator,
        accelerators=current.accelerators,
        usd=usd if usd is not None else known if known is not None else 0.0,
        since=current.since.isoformat(),
        running=True,
        fixed=usd is not None,
    )


def _first(job: PlannedJob, market: Market, left: float, time_s: float, budget: float, as_of: datetime.date) -> Verdict:
    best = market.best(job.job, left, time_s) if time_s > 0 else None
    if best is None or best.cost_usd > budget:
        why = (
            "no cluster on offer ends in time" if best is None else f"the cheapest plan costs {best.cost_usd:,.0f} USD"
        )
        return Verdict(job.name, "infeasible", why)
    plan = _standing_of(best, as_of, running=False)
    return Verdict(
        job.name, "start", f"first plan: {_told(best)}, {best.cost_usd:,.0f} USD, {best.wall_s / DAY_S:.1f} days",
        plan, plan, change_usd=best.cost_usd, ends=_date_after(max(as_of, job.entry.start or as_of), best.wall_s),
    )  # fmt: skip


def _kept(
    job: PlannedJob, standing: Standing, market: Market, left: float, as_of: datetime.date
) -> tuple[float, float] | None:
    """USD and seconds that the rest takes on the standing plan; None where it no longer fits."""
    if standing.running and job.tokens_per_s:
        wall_s = job.job.tokens * left / job.tokens_per_s
    else:
        whole = market.wall_s(job.job, standing.key, standing.accelerator, standing.accelerators)
        if whole is None:
            return None
        wall_s = whole * left
    usd = _priced(standing, market).usd
    if standing.tenure == "purchase":
        # What runs is paid for; what is only planned is still to be bought.
        per_server = int(standing.key.split("|")[4])
        return (0.0 if standing.running else math.ceil(standing.accelerators / per_server) * usd), wall_s
    term_s = _term_left_s(standing, as_of)
    return standing.accelerators * usd * max(wall_s, term_s) / HOUR_S, wall_s


def _term_left_s(standing: Standing, as_of: datetime.date) -> float:
    """Seconds of a committed term that are still to be paid."""
    term_s = COMMITMENT_S[standing.tenure]  # type: ignore[index]
    if not standing.running:
        return term_s
    return max(term_s - (as_of - datetime.date.fromisoformat(standing.since)).days * DAY_S, 0.0)


def _exit_usd(job: PlannedJob, standing: Standing, best: Choice, as_of: datetime.date) -> float:
    """What leaving costs, none of which follows the new price."""
    if not standing.running or (best.key == standing.key and best.accelerators == standing.accelerators):
        return 0.0
    switching = job.entry.switching
    usd = switching.penalty_usd
    if best.key.split("|")[:2] != standing.key.split("|")[:2]:
        usd += job.checkpoint_gb * switching.egress_usd_per_gb
    if standing.tenure != "purchase":
        usd += standing.accelerators * standing.usd * _term_left_s(standing, as_of) / HOUR_S
    return usd


def _hours_without_loss(best: Choice, lost_s: float) -> float:
    """Dollars per dollar of price that the rest would cost if no time were lost in the move."""
    return max(best.usd_per_price - best.accelerators * lost_s / HOUR_S, 0.0)


def _no_choice(
    job: PlannedJob,
    standing: Standing,
    kept: tuple[float, float] | None,
    time_s: float,
    begin: datetime.date,
) -> Verdict:
    if kept is not None and kept[1] <= time_s:
        return Verdict(
            job.name, "keep", "no other plan ends in time", standing, keep_usd=kept[0], ends=_date_after(begin, kept[1])
        )
    return Verdict(
        job.name, "infeasible", "neither the standing plan nor any cluster on offer ends before the deadline", standing,
        keep_usd=kept[0] if kept else None, ends=_date_after(begin, kept[1]) if kept else None,
    )  # fmt: skip


def _standing_of(best: Choice, as_of: datetime.date, *, running: bool) -> Standing:
    return Standing(best.key, best.accelerator, best.accelerators, best.usd, as_of.isoformat(), running)


def _usd(key: str, market: Market) -> float | None:
    quote: Quote | None = market.book.by_key.get(key)
    if quote is None:
        return None
    return quote.per_accelerator * market.catalog.currencies[quote.currency.lower()].usd


def _priced(standing: Standing, market: Market) -> Standing:
    """The standing plan at tonight's price, or at its last known one where the offer vanished or is a contract."""
    committed = standing.running and standing.tenure in ("reserved_1y", "reserved_3y", "capacity_block", "purchase")
    usd = None if standing.fixed or (committed and standing.usd) else _usd(standing.key, market)
    return standing if usd is None else replace(standing, usd=usd)


def _told(best: Choice) -> str:
    provider, region, instance, _, _, tenure = best.key.split("|")
    where = " ".join(part for part in (provider, region, instance) if part)
    return f"{best.accelerators} {best.accelerator} {tenure.replace('_', ' ')} at {where}"


def _date_after(begin: datetime.date, seconds: float) -> str:
    try:
        return (begin + datetime.timedelta(days=math.ceil(seconds / DAY_S - 1e-9))).isoformat()
    except OverflowError:
        return "9999-12-31"
