"""What a job would have cost had all prices been known: the best sequence of plans.

Candidates are the plans that were cheapest on some night of the job's life, one per way of renting. Over the nights,
every plan keeps the states (progress, money) that no other state of it beats in both; a state moves to any other plan
at the same price as in real life. States that cannot end below the best course known are dropped.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalogs.offer import Tenure
from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.backtest_course import Course
from optimizer.replan.backtest_tape import Tape
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.standing import COMMITTED, Standing, exit_usd

RENTED = ("on_demand", "spot", "capacity_block", "reserved_1y", "reserved_3y")

States = NDArray[np.float64]
"""Rows of (share of the job done, USD paid)."""


@dataclass(frozen=True)
class _Candidate:
    """A plan that a job may take up on any night on which it is on offer.

    Attributes:
        plan: what and how many.
        whole_s: seconds of the whole job on it.
        hourly_usd: of each night; NaN before it was first offered.
    """

    plan: Standing
    whole_s: float
    hourly_usd: NDArray[np.float64]

    def least_usd(self, night: int) -> float:
        """What the whole job costs on it at its lowest price from a night on."""
        return float(np.nanmin(self.hourly_usd[night:])) * self.whole_s / HOUR_S


Key = tuple[str, int, str]
"""Offer, accelerators, and the day of a commitment."""


class Hindsight:
    """The best sequences of plans on a tape."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._best: dict[tuple[str, str, int], _Candidate | None] = {}

    def usd(self, job: PlannedJob, begin: int, known: Course) -> float:
        """What the best sequence costs; never more than a course that is known.

        Args:
            job: as :func:`~optimizer.replan.backtest.begun` dates it.
            begin: number of the night.
            known: the best course known.
        """
        dates = self.tape.dates
        start = dates[begin]
        limit = job.entry.deadline
        time_s = np.inf if limit is None else (limit - start).days * DAY_S * (1 + 1e-9)
        candidates = self._candidates(job, begin, known, time_s)
        fastest_s = min(one.whole_s for one in candidates)
        bound = np.inf if known.late else known.usd
        states: dict[Key, tuple[_Candidate, States]] = {}
        for night in range(begin, len(dates)):
            states = self._moved(job, states, self._offered(candidates, night), night, first=night == begin)
            passed_s = (dates[night] - start).days * DAY_S
            span_s = np.inf if night + 1 == len(dates) else (dates[night + 1] - dates[night]).days * DAY_S
            least_usd = min(one.least_usd(night) for one in candidates)
            following = {}
            for key, (option, rows) in states.items():
                left_s = (1.0 - rows[:, 0]) * option.whole_s
                rate = float(option.hourly_usd[night]) / HOUR_S
                ends = (left_s <= span_s) & (passed_s + left_s <= time_s)
                if ends.any():
                    unused_s = np.maximum(option.plan.term_left_s(dates[night]) - left_s[ends], 0.0)
                    total = rows[ends, 1] + left_s[ends] * rate + unused_s * rate
                    bound = min(bound, float(total.min()))
                going = rows[left_s > span_s] + np.array([span_s / option.whole_s, span_s * rate])
                left = 1.0 - going[:, 0]
                hopeful = (going[:, 1] + left * least_usd < bound) & (passed_s + span_s + left * fastest_s <= time_s)
                if hopeful.any():
                    following[key] = option, _unbeaten(going[hopeful])
            states = following
            if not states:
                break
        return bound if np.isfinite(bound) else known.usd

    def _candidates(self, job: PlannedJob, begin: int, known: Course, time_s: float) -> list[_Candidate]:
        """The cheapest plan of every way of renting on every night of the job's life, and those that it had."""
        dates = self.tape.dates
        ended = dates[begin] + datetime.timedelta(days=min(known.days, 1e5))
        found: dict[tuple[str, int], _Candidate] = {}
        for night in range(begin, len(dates)):
            if dates[night] > ended:
                break
            for tenure in job.job.tenures:
                if tenure not in RENTED:
                    continue
                key = (job.name, tenure, night)
                if key not in self._best:
                    self._best[key] = self._cheapest(job, tenure, night, time_s)
                if one := self._best[key]:
                    found.setdefault((one.plan.key, one.plan.accelerators), one)
        for move in known.moves:
            if move.plan.tenure in RENTED:
                night = max(n for n, date in enumerate(dates) if date <= move.date)
                one = self._candidate(job, move.plan, night)
                found.setdefault((one.plan.key, one.plan.accelerators), one)
        return list(found.values())

    def _cheapest(self, job: PlannedJob, tenure: Tenure, night: int, time_s: float) -> _Candidate | None:
        best = self.tape.markets[night].best(replace(job.job, tenures=(tenure,)), 1.0, time_s)
        if best is None:
            return None
        plan = Standing(best.key, best.accelerator, best.accelerators, best.usd, "", running=True)
        return self._candidate(job, plan, night)

    def _candidate(self, job: PlannedJob, plan: Standing, night: int) -> _Candidate:
        whole_s = self.tape.wall_s(job, plan, night)
        return _Candidate(plan, np.inf if whole_s is None else whole_s, self.tape.prices(plan.key) * plan.charged)

    def _offered(self, candidates: list[_Candidate], night: int) -> dict[Key, _Candidate]:
        """What can be taken up on a night; a commitment then keeps the price of the day."""
        book = self.tape.markets[night].book.by_key
        day = self.tape.dates[night].isoformat()
        options: dict[Key, _Candidate] = {}
        for one in candidates:
            if one.plan.key not in book:
                continue
            if one.plan.tenure in COMMITTED:
                kept = np.full(len(one.hourly_usd), one.hourly_usd[night])
                plan = replace(one.plan, since=day, usd=float(kept[0]) / one.plan.charged)
                options[one.plan.key, one.plan.accelerators, day] = replace(one, plan=plan, hourly_usd=kept)
            else:
                plan = replace(one.plan, since=day)
                options[one.plan.key, one.plan.accelerators, ""] = replace(one, plan=plan)
        return options

    def _moved(
        self,
        job: PlannedJob,
        states: dict[Key, tuple[_Candidate, States]],
        options: dict[Key, _Candidate],
        night: int,
        *,
        first: bool,
    ) -> dict[Key, tuple[_Candidate, States]]:
        """The states after every move that can be made on a night."""
        if first:
            return {key: (option, np.zeros((1, 2))) for key, option in options.items()}
        date = self.tape.dates[night]
        lost_s = job.entry.switching.lost_hours * HOUR_S
        moved = dict(states)
        for key, option in options.items():
            arrived = [states[key][1]] if key in states else []
            for other, (left, rows) in states.items():
                if other == key:
                    continue
                standing = replace(left.plan, usd=float(left.hourly_usd[night]) / left.plan.charged)
                leaving = exit_usd(job, standing, option.plan.key, option.plan.accelerators, date)
                # The lost hours are paid like any other, and train nothing.
                arrived.append(rows + np.array([-lost_s / option.whole_s, leaving]))
            if arrived:
                moved[key] = option, _unbeaten(np.concatenate(arrived))
        return moved


def _unbeaten(rows: States) -> States:
    """The states that no other one beats in progress and money."""
    rows = rows[np.lexsort((-rows[:, 0], rows[:, 1]))]
    most = np.maximum.accumulate(np.concatenate([[-np.inf], rows[:-1, 0]]))
    return rows[rows[:, 0] > most]
