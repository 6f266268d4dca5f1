"""From a standing plan and a market to a verdict, with its numbers and the price at which it would change.

Only what is left counts: money that is spent is spent, and a committed term is paid whether the job stays or leaves.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from catalogs.errors import DataFileError
from optimizer.replan.book import Quote
from optimizer.replan.jobs import PlannedJob, Rules
from optimizer.replan.reprice import HOUR_S, Choice, Market
from optimizer.tariff import COMMITMENT_S

Kind = Literal["start", "keep", "switch", "resize", "warn", "infeasible"]
DAY_S = 86400.0

COMMITTED = ("reserved_1y", "reserved_3y", "capacity_block", "purchase")
"""Ways of paying that keep the price of the day they were taken."""

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

    @property
    def per_server(self) -> int:
        """Accelerators in the smallest unit sold."""
        return int(self.key.split("|")[4])

    @property
    def charged(self) -> int:
        """Accelerators that are paid for: whole units."""
        return math.ceil(self.accelerators / self.per_server) * self.per_server


@dataclass(frozen=True)
class Verdict:
    """What to do about a job.

    Attributes:
        job: its name.
        kind: the advice.
        reason: one sentence for a manager.
        standing: the plan that the job has, at tonight's price; what is advised does not stand until it is accepted.
        target: the plan advised, if it is another one.
        keep_usd: what the rest costs on the standing plan.
        change_usd: what the rest costs on the target, with the move.
        move_usd: the part of it that is the move.
        saving_usd: the difference.
        ends: when the standing plan ends (ISO date).
        flips_at: the price, per accelerator-hour (per server when bought), at which the verdict would change.
        flips_key: the offer that this price is about.
        flips_above: whether it would change above that price, or below it.
        told_usd: price of the plan when it was last reported.
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
    flips_above: bool = False
    told_usd: float | None = None

    @property
    def identity(self) -> str:
        """What makes two verdicts the same news: the advice and where it points."""
        to = self.target or self.standing
        return f"{self.kind}|{to.key}|{to.accelerators}" if to else self.kind

    @property
    def plan(self) -> Standing | None:
        """The plan that the job has, else the one advised."""
        return self.standing or self.target

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`to_json`."""
        plans = {name: Standing(**fields[name]) if fields[name] else None for name in ("standing", "target")}
        return cls(**{**fields, **plans})


def decide(
    job: PlannedJob,
    standing: Standing | None,
    market: Market,
    as_of: datetime.date,
    proposed: Standing | None = None,
) -> Verdict:
    """The verdict on one job.

    Args:
        job: the job with its progress.
        standing: its plan so far; None for a job that has none.
        market: tonight's prices.
        as_of: the night.
        proposed: what was advised before and not yet accepted: advised again while no other plan saves enough over it.
    """
    case = _Case(job, market, as_of, lost_s=_lost_s(job, standing))
    best = _best(case, proposed)
    if standing is None:
        return _first(case, best)
    kept = _kept(case, standing)
    if best is None:
        return _no_choice(case, standing, kept)
    leaving_usd = exit_usd(job, standing, best.key, best.accelerators, as_of)
    move_usd = leaving_usd + (best.usd_per_price - _hours_without_loss(best, case.lost_s)) * best.usd
    base = Verdict(
        job.name, "keep", "", _priced(standing, market), None, None, best.cost_usd + leaving_usd, move_usd, None
    )
    if kept is None:
        return _lost(case, base, best)
    keep_usd, keep_s = kept
    saving = keep_usd - (best.cost_usd + leaving_usd)
    base = replace(base, keep_usd=keep_usd, saving_usd=saving, ends=_date_after(case.begin, keep_s))
    if keep_s > case.time_s or keep_usd > case.budget_usd:
        return _at_risk(case, base, best, late=keep_s > case.time_s)
    return _weighed(case, base, best)


def _lost_s(job: PlannedJob, standing: Standing | None) -> float:
    return job.entry.switching.lost_hours * HOUR_S if standing is not None and standing.running else 0.0


@dataclass(frozen=True)
class _Case:
    """A job on a night: what is left of work, time and money.

    Attributes:
        job, market, as_of: as for :func:`decide`.
        lost_s: seconds that a move loses.
    """

    job: PlannedJob
    market: Market
    as_of: datetime.date
    lost_s: float

    @property
    def left(self) -> float:
        """Share of the work still to do."""
        return 1.0 - self.job.tokens_done / self.job.job.tokens

    @property
    def begin(self) -> datetime.date:
        """When the work goes on."""
        return max(self.as_of, self.job.entry.start or self.as_of)

    @property
    def time_s(self) -> float:
        """Seconds until the deadline."""
        end = self.job.entry.deadline
        return math.inf if end is None else (end - self.begin).days * DAY_S

    @property
    def budget_usd(self) -> float:
        """Money that is left."""
        budget = self.job.entry.budget_usd
        return math.inf if budget is None else max(budget - self.job.spent_usd, 0.0)

    def best(self, without: str = "") -> Choice | None:
        """The cheapest cluster that ends in time, a move included."""
        if self.time_s <= self.lost_s:
            return None
        return self.market.best(self.job.job, self.left, self.time_s, self.lost_s, without=without)


def _lost(case: _Case, base: Verdict, best: Choice) -> Verdict:
    """The standing plan is no more."""
    why = "the standing plan cannot be had or no longer fits"
    if (base.change_usd or 0.0) > case.budget_usd:
        return _too_dear(case, base, best, f"{why}; nothing")
    return replace(base, kind="warn", target=_target(case, base, best), reason=f"{why}; move to {_told(best)}")


def _at_risk(case: _Case, base: Verdict, best: Choice, *, late: bool) -> Verdict:
    """The standing plan misses the deadline or the budget."""
    why = f"ends {base.ends}, after the deadline" if late else f"costs {base.keep_usd:,.0f} USD, above the budget"
    if (base.change_usd or 0.0) > case.budget_usd:
        if (base.keep_usd or 0.0) > case.budget_usd:
            return _too_dear(case, base, best, "nothing")
        return replace(base, kind="warn", reason=f"{why}; no plan within the budget ends in time")
    if _same(base, best):
        return replace(base, kind="warn", reason=f"{why}; as predicted it would not: find out what slows it down")
    reason = f"{why}; {_told(best)} ends in time for {base.change_usd:,.0f} USD, the move included"
    return replace(base, kind="warn", target=_target(case, base, best), reason=reason)


def _too_dear(case: _Case, base: Verdict, best: Choice, what: str) -> Verdict:
    other_usd = (base.change_usd or 0.0) - best.usd_per_price * best.usd
    return replace(
        base, kind="infeasible", reason=f"{what} costs less than the {case.budget_usd:,.0f} USD that are left",
        flips_at=max((case.budget_usd - other_usd) / best.usd_per_price, 0.0), flips_key=best.key,
    )  # fmt: skip


def _weighed(case: _Case, base: Verdict, best: Choice) -> Verdict:
    """The standing plan would do: whether another one saves enough."""
    standing, keep_usd, saving, rules = base.standing, base.keep_usd, base.saving_usd, case.job.rules
    assert standing is not None
    assert keep_usd is not None
    assert saving is not None
    if _same(base, best):
        same = replace(base, saving_usd=0.0, move_usd=0.0, change_usd=keep_usd, reason="still the cheapest plan")
        return replace(same, **_leave(case, standing, keep_usd))
    leaving_usd = (base.change_usd or 0.0) - best.cost_usd
    flips, wins_above = _flip(rules, best, standing, keep_usd, leaving_usd)
    found = {"flips_at": flips, "flips_key": best.key, "flips_above": wins_above}
    base = replace(base, **(_leave(case, standing, keep_usd) if flips is None else found))
    needed = rules.needed_usd(keep_usd)
    if saving < needed:
        reason = (
            f"the best other plan saves {saving:,.0f} USD, less than the {needed:,.0f} USD that make a move worth it"
            if saving > 0
            else f"every other plan costs more, the best one {-saving:,.0f} USD"
        )
        return replace(base, reason=reason)
    rest = (case.as_of - datetime.date.fromisoformat(standing.since)).days
    if rest < rules.cool_down_days:
        days = rules.cool_down_days - rest
        return replace(
            base, reason=f"{saving:,.0f} USD could be saved, but the last move is {rest} days old; {days:g} to go"
        )
    return replace(
        base,
        kind="resize" if best.key == standing.key else "switch",
        target=_target(case, base, best),
        flips_above=not wins_above,
        reason=f"{_told(best)} saves {saving:,.0f} USD ({saving / keep_usd:.0%} of what is left), the move included",
    )


def _same(base: Verdict, best: Choice) -> bool:
    standing = base.standing
    return standing is not None and (best.key, best.accelerators) == (standing.key, standing.accelerators)


def _target(case: _Case, base: Verdict, best: Choice) -> Standing:
    return _standing_of(best, case.as_of, running=base.standing is not None and base.standing.running)


def _leave(case: _Case, standing: Standing, keep_usd: float) -> dict[str, Any]:
    """From which price of its own offer on the standing plan would be left for another offer."""
    other = case.best(without=standing.key) if _follows(standing) else None
    if other is None:
        return {}
    # What it costs to stay is in proportion to its price.
    leaving_usd = exit_usd(case.job, standing, other.key, other.accelerators, case.as_of)
    cost_usd = case.job.rules.leave_usd(other.cost_usd + leaving_usd)
    return {"flips_at": standing.usd * cost_usd / keep_usd, "flips_key": standing.key, "flips_above": True}


def _flip(rules: Rules, best: Choice, now: Standing, keep_usd: float, leaving_usd: float) -> tuple[float | None, bool]:
    """The price of the best plan's offer at which a move is just worth it, and whether it is so above that price."""
    if best.key != now.key or not _follows(now):
        return max(
            (keep_usd - rules.needed_usd(keep_usd) - leaving_usd - best.energy_usd) / best.usd_per_price, 0.0
        ), False
    # Another size of the same offer: both costs are in proportion to the one price.
    stay, go = keep_usd / now.usd, best.usd_per_price
    if go >= stay * (1 - rules.min_saving_share):
        return None, True
    share = stay * (1 - rules.min_saving_share) - go
    return max((rules.min_saving_usd + leaving_usd) / (stay - go), leaving_usd / share), True


def with_news(verdict: Verdict, before: Verdict | None, rules: Rules) -> Verdict:
    """The verdict with the price last reported, and with words for a price that rose far above that one.

    Args:
        verdict: tonight's.
        before: the last one on the job.
        rules: how far is far.
    """
    plan = verdict.plan
    if plan is None:
        return verdict
    known = before.plan if before else None
    told = before.told_usd if before and known and known.key == plan.key else None
    if told is None:
        return replace(verdict, told_usd=plan.usd)
    if plan.usd <= told * (1 + rules.news_share):
        return replace(verdict, told_usd=told)
    unit = "server" if plan.tenure == "purchase" else "accelerator-hour"
    words = f"{offer_words(plan.key)} went from {told:.4g} to {plan.usd:.4g} USD per {unit}"
    if verdict.keep_usd is not None:
        more = verdict.keep_usd * (1 - told / plan.usd)
        words += f", so what is left costs {verdict.keep_usd:,.0f} USD, {more:,.0f} more"
    return replace(verdict, told_usd=plan.usd, reason=f"{words}; {verdict.reason}")


def _best(case: _Case, proposed: Standing | None) -> Choice | None:
    """The cheapest cluster that ends in time, or what was proposed while that is cheaper by too little."""
    best = case.best()
    if best is None or proposed is None:
        return best
    held = case.market.at(
        case.job.job, proposed.key, proposed.accelerators, case.left, case.time_s, case.lost_s
    )  # fmt: skip
    return held if held and held.cost_usd - best.cost_usd < case.job.rules.needed_usd(held.cost_usd) else best


def standing_of(job: PlannedJob, recorded: Standing | None, market: Market) -> Standing | None:
    """The plan a job has: what runs, else what was accepted before.

    Raises:
        DataFileError: nobody says what the offer it runs on costs.
    """
    current = job.entry.current
    if current is None:
        return recorded
    usd = current.usd_per_accelerator_hour
    last = recorded.usd if recorded is not None and recorded.key == current.key else None
    if usd is None:
        book = _usd(current.key, market)
        # A commitment keeps the price it was made at.
        known = (last, book) if current.tenure in COMMITTED else (book, last)
        usd = known[1] if known[0] is None else known[0]
    if usd is None and current.tenure != "purchase":
        raise DataFileError(
            f"job {job.name!r}: no book has a price of its current offer {current.key}; "
            "give current.usd_per_accelerator_hour, or the offer as the book writes it"
        )
    return Standing(
        key=current.key,
        accelerator=current.accelerator,
        accelerators=current.accelerators,
        usd=usd or 0.0,  # what was bought before there was a book is paid for
        since=current.since.isoformat(),
        running=True,
        fixed=current.usd_per_accelerator_hour is not None,
    )


def _first(case: _Case, best: Choice | None) -> Verdict:
    """The verdict on a job without a plan."""
    name, budget = case.job.name, case.budget_usd
    if best is None:
        return Verdict(name, "infeasible", "no cluster on offer ends in time")
    if best.cost_usd > budget:
        return Verdict(
            name, "infeasible", f"the cheapest plan costs {best.cost_usd:,.0f} USD, above the budget",
            change_usd=best.cost_usd, flips_at=max((budget - best.energy_usd) / best.usd_per_price, 0.0),
            flips_key=best.key,
        )  # fmt: skip
    other = case.best(without=best.key)
    leave = None
    if other is not None:
        leave = (case.job.rules.leave_usd(other.cost_usd) - best.energy_usd) / best.usd_per_price
    return Verdict(
        name, "start", f"first plan: {_told(best)}, {best.cost_usd:,.0f} USD, {best.wall_s / DAY_S:.1f} days",
        target=_standing_of(best, case.as_of, running=False), change_usd=best.cost_usd,
        ends=_date_after(case.begin, best.wall_s),
        flips_at=leave, flips_key=best.key if leave is not None else None, flips_above=True,
    )  # fmt: skip


def _kept(case: _Case, standing: Standing) -> tuple[float, float] | None:
    """USD and seconds that the rest takes on the standing plan; None where it cannot be had or no longer fits."""
    job, market, left, as_of = case.job, case.market, case.left, case.as_of
    if standing.running and job.tokens_per_s:
        wall_s = job.job.tokens * left / job.tokens_per_s
    else:
        whole = market.wall_s(job.job, standing.key, standing.accelerator, standing.accelerators)
        if whole is None:
            return None
        wall_s = whole * left
    if not standing.running and standing.accelerators > market.most(job.job, standing.key):
        return None
    usd = _priced(standing, market).usd
    if standing.tenure == "purchase":
        # What runs is paid for; what is only planned is still to be bought.
        return (0.0 if standing.running else standing.charged / standing.per_server * usd), wall_s
    term_s = _term_left_s(standing, as_of)
    return standing.charged * usd * max(wall_s, term_s) / HOUR_S, wall_s


def _term_left_s(standing: Standing, as_of: datetime.date) -> float:
    """Seconds of a committed term that are still to be paid."""
    term_s = COMMITMENT_S[standing.tenure]  # type: ignore[index]
    if not standing.running:
        return term_s
    return max(term_s - (as_of - datetime.date.fromisoformat(standing.since)).days * DAY_S, 0.0)


def exit_usd(job: PlannedJob, standing: Standing, key: str, accelerators: int, as_of: datetime.date) -> float:
    """What leaving the standing plan for another one costs, none of which follows the new price."""
    if not standing.running or (key == standing.key and accelerators == standing.accelerators):
        return 0.0
    switching = job.entry.switching
    usd = switching.penalty_usd
    if key.split("|")[:2] != standing.key.split("|")[:2]:
        usd += job.checkpoint_gb * switching.egress_usd_per_gb
    if standing.tenure != "purchase":
        usd += standing.charged * standing.usd * _term_left_s(standing, as_of) / HOUR_S
    return usd


def _hours_without_loss(best: Choice, lost_s: float) -> float:
    """Dollars per dollar of price that the rest would cost if no time were lost in the move."""
    return max(best.usd_per_price - best.accelerators * lost_s / HOUR_S, 0.0)


def _no_choice(case: _Case, standing: Standing, kept: tuple[float, float] | None) -> Verdict:
    """Nothing on offer ends in time, a move included."""
    name, ends = case.job.name, _date_after(case.begin, kept[1]) if kept else None
    if kept is not None and kept[1] <= case.time_s:
        return Verdict(name, "keep", "no other plan ends in time", standing, keep_usd=kept[0], ends=ends)
    return Verdict(
        name, "infeasible", "neither the standing plan nor any cluster on offer ends before the deadline", standing,
        keep_usd=kept[0] if kept else None, ends=ends,
    )  # fmt: skip


def _standing_of(best: Choice, as_of: datetime.date, *, running: bool) -> Standing:
    return Standing(best.key, best.accelerator, best.accelerators, best.usd, as_of.isoformat(), running)


def _usd(key: str, market: Market) -> float | None:
    quote: Quote | None = market.book.by_key.get(key)
    if quote is None:
        return None
    return quote.per_accelerator * market.catalog.currencies[quote.currency.lower()].usd


def _follows(standing: Standing) -> bool:
    """Whether what it costs to stay follows the book."""
    return not standing.fixed and not (standing.running and standing.tenure in COMMITTED)


def _priced(standing: Standing, market: Market) -> Standing:
    """The standing plan at tonight's price, or at its last known one where the offer vanished or is a contract."""
    usd = _usd(standing.key, market) if _follows(standing) else None
    return standing if usd is None else replace(standing, usd=usd)


def offer_words(key: str) -> str:
    """An offer of a price book as a reader names it.

    >>> offer_words("gcp|us-east4|a3-highgpu-8g|h100-sxm-80g|8|on_demand")
    'gcp us-east4 a3-highgpu-8g on demand'
    """
    provider, region, instance, _, _, tenure = key.split("|")
    return " ".join(part for part in (provider, region, instance, tenure.replace("_", " ")) if part)


def _told(best: Choice) -> str:
    provider, region, instance, _, _, tenure = best.key.split("|")
    where = " ".join(part for part in (provider, region, instance) if part)
    return f"{best.accelerators} {best.accelerator} {tenure.replace('_', ' ')} at {where}"


def _date_after(begin: datetime.date, seconds: float) -> str:
    try:
        return (begin + datetime.timedelta(days=math.ceil(seconds / DAY_S - 1e-9))).isoformat()
    except OverflowError:
        return "9999-12-31"
