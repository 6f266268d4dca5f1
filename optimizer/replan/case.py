"""A job on a night: what is left of its work, time and money, what can be had for it, and what its plan would cost."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.offer_key import OfferKey
from optimizer.replan.reprice import Choice, Market
from optimizer.replan.standing import Standing, exit_usd


@dataclass(frozen=True)
class Kept:
    """The rest of a job on the plan that it has.

    Attributes:
        wall_s: seconds that it takes.
        price_usd: of the offer, per accelerator-hour (per server when bought).
        usd_per_price: dollars of cost per dollar of price.
        energy_usd: the part that does not follow the price.
    """

    wall_s: float
    price_usd: float
    usd_per_price: float
    energy_usd: float = 0.0

    @property
    def usd(self) -> float:
        """What it costs."""
        return self.usd_per_price * self.price_usd + self.energy_usd


@dataclass(frozen=True)
class Case:
    """A job on a night.

    Attributes:
        job: the job with its progress.
        standing: its plan so far, at tonight's price; None for a job that has none.
        market: tonight's prices.
        as_of: the night.
    """

    job: PlannedJob
    standing: Standing | None
    market: Market
    as_of: datetime.date

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

    @property
    def running(self) -> bool:
        """Whether the job runs already."""
        return self.standing is not None and self.standing.running

    @property
    def lost_s(self) -> float:
        """Seconds that a move loses."""
        return self.job.entry.switching.lost_hours * HOUR_S if self.running else 0.0

    def best(self, without: str = "") -> Choice | None:
        """The cluster that ends in time for the least money, the move included."""
        if self.time_s <= self.lost_s:
            return None
        question = self.job.job, self.left, self.time_s, self.lost_s, without
        best = self.market.best(*question)
        if best is None or self.standing is None or not self.standing.running:
            return best
        here = OfferKey.of(self.standing.key).place
        if best.key.startswith(here):
            return best
        # A dearer cluster that no data has to leave for can cost less in all.
        near = self.market.best(*question, place=here)
        return best if near is None else min(best, near, key=self.change_usd)

    def advised(self, proposed: Standing | None) -> Choice | None:
        """The best cluster; or what was proposed, while it fits the budget and the best saves too little over it.

        Where the job does not pay the price of the book, its own cluster at that price is not to be had by a move.
        """
        best, standing = self.best(), self.standing
        if best is not None and standing is not None and not standing.follows and standing.same(best):
            best = self.best(without=standing.key)
        if best is None or proposed is None:
            return best
        job, left, lost_s = self.job.job, self.left, self.lost_s
        held = self.market.at(job, proposed.key, proposed.accelerators, left, self.time_s, lost_s)
        if held is None or self.change_usd(held) > self.budget_usd:
            return best
        needed_usd = self.job.rules.needed_usd(self.change_usd(held))
        return held if self.change_usd(held) - self.change_usd(best) < needed_usd else best

    def exit_usd(self, choice: Choice) -> float:
        """What leaving the standing plan for a cluster costs."""
        if self.standing is None:
            return 0.0
        return exit_usd(self.job, self.standing, choice.key, choice.accelerators, self.as_of)

    def change_usd(self, choice: Choice) -> float:
        """What the rest costs on a cluster, the move included."""
        return choice.cost_usd + self.exit_usd(choice)

    def kept(self) -> Kept | None:
        """The rest on the standing plan; None where it cannot be had or no longer fits.

        What was bought is paid for (its electricity counts as paid, too); what is only planned is still to be bought.
        """
        standing, job = self.standing, self.job
        assert standing is not None
        if standing.running and job.tokens_per_s:
            wall_s = job.job.tokens * self.left / job.tokens_per_s
        else:
            whole_s = self.market.wall_s(job.job, standing.key, standing.accelerator, standing.accelerators)
            if whole_s is None:
                return None
            wall_s = whole_s * self.left
        if not standing.running and standing.accelerators > self.market.most(job.job, standing.key):
            return None
        if standing.tenure != "purchase":
            charged_s = max(wall_s, standing.term_left_s(self.as_of))
            return Kept(wall_s, standing.usd, standing.charged * charged_s / HOUR_S)
        if standing.running:
            return Kept(wall_s, standing.usd, 0.0)
        priced = self.market.at(job.job, standing.key, standing.accelerators, self.left, math.inf)
        if priced is None:  # no longer in the book: the servers at their last price
            return Kept(wall_s, standing.usd, standing.units)
        return Kept(priced.wall_s, priced.usd, priced.usd_per_price, priced.energy_usd)

    def target(self, choice: Choice) -> Standing:
        """A cluster as the plan that the job would have."""
        since = self.as_of.isoformat()
        return Standing(choice.key, choice.accelerator, choice.accelerators, choice.usd, since, self.running)
