"""From a standing plan and a market to a verdict, with its numbers and the price at which it would change.

Only what is left counts: money that is spent is spent, and a committed term is paid whether the job stays or leaves.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace
from typing import Any

from costmodels.run import DAY_S
from optimizer.replan.case import Case, Kept
from optimizer.replan.jobs import PlannedJob
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
        return _no_choice(case, case.standing, kept)
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
    def usd(self) -> float:
        """What the rest costs on it, the move included."""
        return self.case.change_usd(self.best)

    @property
    def fixed_usd(self) -> float:
        """The part that does not follow its price."""
        return self.best.energy_usd + self.case.exit_usd(self.best)

    @property
    def move_usd(self) -> float:
        """The part that is the move: leaving, and the hours in which nothing is trained."""
        return self.case.exit_usd(self.best) + self.best.lost_usd

    @property
    def too_dear(self) -> bool:
        """Whether it costs more than is left."""
        return self.usd > self.case.budget_usd

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
        reason = f"the cheapest plan costs {best.cost_usd:,.0f} USD, above the budget"
        flip = _flip(best.key, _price(budget, best.usd_per_price, best.energy_usd), above=False)
        return Verdict(name, "infeasible", reason, change_usd=best.cost_usd, **flip)
    other = case.best(without=best.key)
    most = min(budget, math.inf if other is None else case.job.rules.leave_usd(other.cost_usd))
    return Verdict(
        name, "start", f"first plan: {_told(best)}, {best.cost_usd:,.0f} USD, {best.wall_s / DAY_S:.1f} days",
        target=case.target(best), change_usd=best.cost_usd, ends=_date_after(case.begin, best.wall_s),
        **_flip(best.key, _price(most, best.usd_per_price, best.energy_usd), above=True),
    )  # fmt: skip


def _no_choice(case: Case, standing: Standing, kept: Kept | None) -> Verdict:
    """Nothing else on offer ends in time, a move included."""
    base = Verdict(case.job.name, "infeasible", "", standing)
    if kept is not None:
        base = replace(base, keep_usd=kept.usd, ends=_date_after(case.begin, kept.wall_s))
    if kept is None or kept.wall_s > case.time_s:
        reason = "neither the standing plan nor any cluster on offer ends before the deadline"
        return replace(base, reason=reason)
    if kept.usd > case.budget_usd:
        reason = f"costs {kept.usd:,.0f} USD, above the budget; no other plan ends in time"
        return replace(base, reason=reason, **_stay(case, standing, kept, case.budget_usd, above=False))
    flip = _stay(case, standing, kept, case.budget_usd)
    return replace(base, kind="keep", reason="no other plan ends in time", **flip)


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
    if change.standing.same(change.best):
        return replace(base, kind="warn", reason=f"{why}; as predicted it would not: find out what slows it down")
    reason = f"{why}; {_told(change.best)} ends in time for {change.usd:,.0f} USD, the move included"
    return replace(base, kind="warn", target=case.target(change.best), reason=reason)


def _too_dear(change: _Change, base: Verdict, what: str) -> Verdict:
    best, budget_usd = change.best, change.case.budget_usd
    reason = f"{what} costs less than the {budget_usd:,.0f} USD that are left"
    flip = _flip(best.key, _price(budget_usd, best.usd_per_price, change.fixed_usd), above=False)
    return replace(base, kind="infeasible", reason=reason, **flip)


def _weighed(change: _Change, kept: Kept) -> Verdict:
    """The standing plan would do: whether another one saves enough."""
    case, standing, best, rules = change.case, change.standing, change.best, change.case.job.rules
    base = change.against(kept)
    if standing.same(best):
        same = replace(base, saving_usd=0.0, move_usd=0.0, change_usd=kept.usd, reason="still the cheapest plan")
        return replace(same, **_leave(case, standing, kept))
    saving, needed = kept.usd - change.usd, rules.needed_usd(kept.usd)
    rest = (case.as_of - datetime.date.fromisoformat(standing.since)).days
    resting = rest < rules.cool_down_days
    if saving >= needed and not resting:
        share = saving / kept.usd
        return replace(
            base,
            kind="resize" if best.key == standing.key else "switch",
            target=case.target(best),
            reason=f"{_told(best)} saves {saving:,.0f} USD ({share:.0%} of what is left), the move included",
            **_better_until(change, kept),
        )
    if saving >= needed:
        days = rules.cool_down_days - rest
        reason = f"{saving:,.0f} USD could be saved, but the last move is {rest} days old; {days:g} to go"
    elif saving > 0:
        reason = (
            f"the best other plan saves {saving:,.0f} USD, less than the {needed:,.0f} USD that make a move worth it"
        )
    else:
        reason = f"every other plan costs more, the best one {-saving:,.0f} USD"
    if resting:
        # No other price moves a job that has just moved.
        flip = _stay(case, standing, kept, case.budget_usd)
    else:
        worth_from, above = _worth_from(change, kept)
        flip = _flip(best.key, worth_from, above=above) or _leave(case, standing, kept)
    return replace(base, reason=reason, **flip)


def _leave(case: Case, standing: Standing, kept: Kept) -> dict[str, Any]:
    """From which price of its own offer on the standing plan would be left for another offer, or exceed the budget."""
    other = case.best(without=standing.key) if standing.follows else None
    leave_usd = math.inf if other is None else case.job.rules.leave_usd(case.change_usd(other))
    return _stay(case, standing, kept, min(leave_usd, case.budget_usd))


def _stay(case: Case, standing: Standing, kept: Kept, usd: float, *, above: bool = True) -> dict[str, Any]:
    """The price of its own offer at which staying on the standing plan costs so much."""
    if not standing.follows:
        return {}
    return _flip(standing.key, _price(usd, kept.usd_per_price, kept.energy_usd), above=above)


def _worth_from(change: _Change, kept: Kept) -> tuple[float | None, bool]:
    """The price of the best plan's offer at which a move is just worth it, and whether it is so above that price.

    None where it is so at no price.
    """
    best, now, rules = change.best, change.standing, change.case.job.rules
    if best.key != now.key or not now.follows:
        return _price(kept.usd - rules.needed_usd(kept.usd), best.usd_per_price, change.fixed_usd), False
    # Another size of the same offer: both costs follow the one price. The saving must be enough in dollars and as a
    # share of what it costs to stay.
    stay, go, more_usd = kept.usd_per_price, best.usd_per_price, change.fixed_usd - kept.energy_usd
    part = 1 - rules.min_saving_share
    if go >= stay * part:
        return None, True
    share_usd = change.fixed_usd - kept.energy_usd * part
    price = max((rules.min_saving_usd + more_usd) / (stay - go), share_usd / (stay * part - go))
    return (price if price > 0.0 else None), True


def _better_until(change: _Change, kept: Kept) -> dict[str, Any]:
    """The price of the best plan's offer at which it no longer saves enough, or another one saves enough over it."""
    case, best, standing = change.case, change.best, change.standing
    price, above = _worth_from(change, kept)
    other = None if above else case.best(without=best.key)
    if other is not None and price is not None and (standing.follows or not standing.same(other)):
        beaten_usd = case.job.rules.leave_usd(case.change_usd(other))
        price = min(price, _price(beaten_usd, best.usd_per_price, change.fixed_usd) or price)
    return _flip(best.key, price, above=not above)


def _price(usd: float, usd_per_price: float, fixed_usd: float) -> float | None:
    """The price at which something costs so much; None where no price is so high or so low."""
    price = (usd - fixed_usd) / usd_per_price
    return price if 0.0 < price < math.inf else None


def _flip(key: str, price: float | None, *, above: bool) -> dict[str, Any]:
    """The fields of a verdict that say at which price of which offer it would change."""
    return {} if price is None else {"flips_at": price, "flips_key": key, "flips_above": above}


def _told(choice: Choice) -> str:
    offer = OfferKey.of(choice.key)
    return f"{choice.accelerators} {choice.accelerator} {offer.way_of_paying} at {offer.seller}"


def _date_after(begin: datetime.date, seconds: float) -> str:
    try:
        return (begin + datetime.timedelta(days=math.ceil(seconds / DAY_S - 1e-9))).isoformat()
    except OverflowError:
        return "9999-12-31"
