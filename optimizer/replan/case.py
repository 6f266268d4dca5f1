"""A job on a night: what is left of its work, time and money, what can be had for it, and what its plan would cost."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.reprice import Choice, Market
from optimizer.replan.standing import Standing, exit_usd


@dataclass(frozen=True)
class Kept:
    """The rest of a job on the plan that it has.

    Attributes:
        usd: what it costs.
        wall_s: seconds that it takes.
    """

    usd: float
    wall_s: float


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
        """The cheapest cluster that ends in time, a move included."""
        if self.time_s <= self.lost_s:
            return None
        return self.market.best(self.job.job, self.left, self.time_s, self.lost_s, without=without)

    def advised(self, proposed: Standing | None) -> Choice | None:
        """The cheapest cluster that ends in time, or what was proposed while that is cheaper by too little."""
        best = self.best()
        if best is None or proposed is None:
            return best
        job, left, lost_s = self.job.job, self.left, self.lost_s
        held = self.market.at(job, proposed.key, proposed.accelerators, left, self.time_s, lost_s)
        return held if held and held.cost_usd - best.cost_usd < self.job.rules.needed_usd(held.cost_usd) else best

    def exit_usd(self, choice: Choice) -> float:
        """What leaving the standing plan for a cluster costs."""
        if self.standing is None:
            return 0.0
        return exit_usd(self.job, self.standing, choice.key, choice.accelerators, self.as_of)

    def kept(self) -> Kept | None:
        """The rest on the standing plan; None where it cannot be had or no longer fits."""
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
        if standing.tenure == "purchase":
            # What runs is paid for; what is only planned is still to be bought.
            return Kept(0.0 if standing.running else standing.units * standing.usd, wall_s)
        charged_s = max(wall_s, standing.term_left_s(self.as_of))
        return Kept(standing.charged * standing.usd * charged_s / HOUR_S, wall_s)

    def target(self, choice: Choice) -> Standing:
        """A cluster as the plan that the job would have."""
        since = self.as_of.isoformat()
        return Standing(choice.key, choice.accelerator, choice.accelerators, choice.usd, since, self.running)
