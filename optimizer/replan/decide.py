"""From a standing plan and a market to a verdict, with its numbers and the price at which it would change.

Only what is left counts: money that is spent is spent, and a committed term is paid whether the job stays or leaves.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace
from typing import Any

from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.case import Case, Kept
from optimizer.replan.jobs import PlannedJob, Rules
from optimizer.replan.offer_key import OfferKey
from optimizer.replan.reprice import Choice, Market
from optimizer.replan.standing import Standing
from optimizer.replan.verdict import Verdict


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
    case = Case(job, standing and standing.priced(market), market, as_of)
    best = case.advised(proposed)
    if case.standing is None:
        return _first(case, best)
    kept = case.kept()
    if best is None:
        return _no_choice(case, kept)
    change = _Change(case, case.standing, best)
    if kept is None:
        return _lost(change)
    if kept.wall_s > case.time_s or kept.usd > case.budget_usd:
        return _at_risk(change, kept)
    return _weighed(change, kept)


@dataclass(frozen=True)
class _Change:
    """The best cluster for a job that has a plan.

    Attributes:
        case: the job.
        standing: the plan that it has.
        best: the cluster.
    """

    case: Case
    standing: Standing
    best: Choice

    @property
    def leaving_usd(self) -> float:
        """The part that is paid for leaving."""
        return self.case.exit_usd(self.best)

    @property
    def usd(self) -> float:
        """What the rest costs on it, the move included."""
        return self.best.cost_usd + self.leaving_usd

    @property
    def move_usd(self) -> float:
        """The part that is the move."""
        best = self.best
        without_loss = max(best.usd_per_price - best.accelerators * self.case.lost_s / HOUR_S, 0.0)
        return self.leaving_usd + (best.usd_per_price - without_loss) * best.usd

    @property
    def too_dear(self) -> bool:
        """Whether it costs more than is left."""
        return self.usd > self.case.budget_usd

    @property
    def none(self) -> bool:
        """Whether it is the plan that stands."""
        return (self.best.key, self.best.accelerators) == (self.standing.key, self.standing.accelerators)

    @property
    def verdict(self) -> Verdict:
        """Its figures, to keep the plan."""
        name = self.case.job.name
        return Verdict(name, "keep", "", self.standing, change_usd=self.usd, move_usd=self.move_usd)

    def against(self, kept: Kept) -> Verdict:
        """Its figures beside those of the standing plan."""
        ends = _date_after(self.case.begin, kept.wall_s)
        return replace(self.verdict, keep_usd=kept.usd, saving_usd=kept.usd - self.usd, ends=ends)


def _first(case: Case, best: Choice | None) -> Verdict:
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
        target=case.target(best), change_usd=best.cost_usd, ends=_date_after(case.begin, best.wall_s),
        flips_at=leave, flips_key=best.key if leave is not None else None, flips_above=True,
    )  # fmt: skip


def _no_choice(case: Case, kept: Kept | None) -> Verdict:
    """Nothing on offer ends in time, a move included."""
    name, ends = case.job.name, _date_after(case.begin, kept.wall_s) if kept else None
    if kept is not None and kept.wall_s <= case.time_s:
        return Verdict(name, "keep", "no other plan ends in time", case.standing, keep_usd=kept.usd, ends=ends)
    return Verdict(
        name, "infeasible", "neither the standing plan nor any cluster on offer ends before the deadline",
        case.standing, keep_usd=kept.usd if kept else None, ends=ends,
    )  # fmt: skip


def _lost(change: _Change) -> Verdict:
    """The standing plan is no more."""
    why = "the standing plan cannot be had or no longer fits"
    if change.too_dear:
        return _too_dear(change, change.verdict, f"{why}; nothing")
    best = change.best
    return replace(change.verdict, kind="warn", target=change.case.target(best), reason=f"{why}; move to {_told(best)}")


def _at_risk(change: _Change, kept: Kept) -> Verdict:
    """The standing plan misses the deadline or the budget."""
    case, base = change.case, change.against(kept)
    late = kept.wall_s > case.time_s
    why = f"ends {base.ends}, after the deadline" if late else f"costs {kept.usd:,.0f} USD, above the budget"
    if change.too_dear:
        if kept.usd > case.budget_usd:
            return _too_dear(change, base, "nothing")
        return replace(base, kind="warn", reason=f"{why}; no plan within the budget ends in time")
    if change.none:
        return replace(base, kind="warn", reason=f"{why}; as predicted it would not: find out what slows it down")
    reason = f"{why}; {_told(change.best)} ends in time for {change.usd:,.0f} USD, the move included"
    return replace(base, kind="warn", target=case.target(change.best), reason=reason)


def _too_dear(change: _Change, base: Verdict, what: str) -> Verdict:
    best, budget_usd = change.best, change.case.budget_usd
    other_usd = change.usd - best.usd_per_price * best.usd
    return replace(
        base, kind="infeasible", reason=f"{what} costs less than the {budget_usd:,.0f} USD that are left",
        flips_at=max((budget_usd - other_usd) / best.usd_per_price, 0.0), flips_key=best.key,
    )  # fmt: skip


def _weighed(change: _Change, kept: Kept) -> Verdict:
    """The standing plan would do: whether another one saves enough."""
    case, standing, best, rules = change.case, change.standing, change.best, change.case.job.rules
    base = change.against(kept)
    if change.none:
        same = replace(base, saving_usd=0.0, move_usd=0.0, change_usd=kept.usd, reason="still the cheapest plan")
        return replace(same, **_leave(case, standing, kept.usd))
    flips, wins_above = _flip(rules, best, standing, kept.usd, change.leaving_usd)
    found = {"flips_at": flips, "flips_key": best.key, "flips_above": wins_above}
    base = replace(base, **(_leave(case, standing, kept.usd) if flips is None else found))
    saving, needed = kept.usd - change.usd, rules.needed_usd(kept.usd)
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
        target=case.target(best),
        flips_above=not wins_above,
        reason=f"{_told(best)} saves {saving:,.0f} USD ({saving / kept.usd:.0%} of what is left), the move included",
    )


def _leave(case: Case, standing: Standing, keep_usd: float) -> dict[str, Any]:
    """From which price of its own offer on the standing plan would be left for another offer."""
    other = case.best(without=standing.key) if standing.follows else None
    if other is None:
        return {}
    # What it costs to stay is in proportion to its price.
    cost_usd = case.job.rules.leave_usd(other.cost_usd + case.exit_usd(other))
    return {"flips_at": standing.usd * cost_usd / keep_usd, "flips_key": standing.key, "flips_above": True}


def _flip(rules: Rules, best: Choice, now: Standing, keep_usd: float, leaving_usd: float) -> tuple[float | None, bool]:
    """The price of the best plan's offer at which a move is just worth it, and whether it is so above that price.

    None where it is so at no price.
    """
    if best.key != now.key or not now.follows:
        price = (keep_usd - rules.needed_usd(keep_usd) - leaving_usd - best.energy_usd) / best.usd_per_price
        return (price if price > 0 else None), False
    # Another size of the same offer: both costs are in proportion to the one price.
    stay, go = keep_usd / now.usd, best.usd_per_price
    if go >= stay * (1 - rules.min_saving_share):
        return None, True
    share = stay * (1 - rules.min_saving_share) - go
    return max((rules.min_saving_usd + leaving_usd) / (stay - go), leaving_usd / share), True


def _told(choice: Choice) -> str:
    offer = OfferKey.of(choice.key)
    return f"{choice.accelerators} {choice.accelerator} {offer.way_of_paying} at {offer.seller}"


def _date_after(begin: datetime.date, seconds: float) -> str:
    try:
        return (begin + datetime.timedelta(days=math.ceil(seconds / DAY_S - 1e-9))).isoformat()
    except OverflowError:
        return "9999-12-31"
