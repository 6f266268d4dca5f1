"""How one job goes, charged by the hour: with its first plan to the end, or with every verdict followed."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, field, replace

from costmodels.bill import HOUR_S
from costmodels.run import DAY_S
from optimizer.replan.backtest_tape import Tape
from optimizer.replan.decide import decide
from optimizer.replan.jobs import PlannedJob
from optimizer.replan.standing import COMMITTED, Standing, exit_usd

FOLLOWED = ("switch", "resize", "warn")
"""Verdicts whose target the backtest moves to."""


@dataclass(frozen=True)
class Move:
    """A plan taken up.

    Attributes:
        date: when.
        kind: the verdict that advised it.
        plan: what was taken up.
    """

    date: datetime.date
    kind: str
    plan: Standing


@dataclass(frozen=True)
class Course:
    """How a job went.

    Attributes:
        usd: what it cost.
        days: how long it took.
        late: whether it ended after its deadline.
        moves: the plans it had, the first one included.
    """

    usd: float
    days: float
    late: bool
    moves: tuple[Move, ...]


@dataclass
class _Clock:
    """A job under way: one plan at a time, money and progress by the hour."""

    job: PlannedJob
    tape: Tape
    date: datetime.date
    begin: datetime.date
    night: int
    plan: Standing | None = None
    whole_s: float = math.inf
    lost_s: float = 0.0
    done: float = 0.0
    usd: float = 0.0
    moves: list[Move] = field(default_factory=list)

    def take(self, plan: Standing, kind: str, change_usd: float) -> None:
        """Move to a plan (which a verdict priced at ``change_usd``)."""
        if self.plan is not None and plan.tenure != "purchase":
            self.usd += exit_usd(self.job, self._standing(), plan.key, plan.accelerators, self.date)
        if plan.tenure == "purchase":
            self.usd += change_usd
        self.lost_s = self.job.entry.switching.lost_hours * HOUR_S if self.plan is not None else 0.0
        self.plan = replace(plan, since=self.date.isoformat(), running=True)
        self.whole_s = self.tape.wall_s(self.job, plan, self.night) or math.inf
        self.moves.append(Move(self.date, kind, self.plan))

    def run(self, until: datetime.date | None) -> float | None:
        """Train until a date (None: to the end); seconds after which the job ended, if it did."""
        left_s = self.lost_s + (1.0 - self.done) * self.whole_s
        span_s = math.inf if until is None else (until - self.date).days * DAY_S
        passed_s = min(left_s, span_s)
        self.usd += self._hourly_usd() * passed_s / HOUR_S
        trained_s = max(passed_s - self.lost_s, 0.0)
        self.lost_s = max(self.lost_s - passed_s, 0.0)
        self.done += trained_s / self.whole_s
        if left_s <= span_s:
            self.usd += self._term_left_usd(passed_s)
            return (self.date - self.begin).days * DAY_S + passed_s
        if until is not None:
            self.date = until
        return None

    def decide(self) -> None:
        """Hear tonight's verdict and follow it."""
        assert self.plan is not None
        job = replace(self.job, tokens_done=self.done * self.job.job.tokens, spent_usd=self.usd)
        verdict = decide(job, self._standing(), self.tape.markets[self.night], self.date)
        if verdict.target is not None and verdict.kind in FOLLOWED:
            self.take(verdict.target, verdict.kind, verdict.change_usd or 0.0)

    def _standing(self) -> Standing:
        assert self.plan is not None
        if self.plan.tenure in COMMITTED:
            return self.plan
        return replace(self.plan, usd=self.tape.usd(self.plan.key, self.night))

    def _hourly_usd(self) -> float:
        plan = self._standing()
        return 0.0 if plan.tenure == "purchase" else plan.charged * plan.usd

    def _term_left_usd(self, passed_s: float) -> float:
        return self._hourly_usd() * max(self._standing().term_left_s(self.date) - passed_s, 0.0) / HOUR_S


def course(job: PlannedJob, tape: Tape, begin: int, *, replanned: bool) -> Course | None:
    """How a job goes that begins on a night; None where nothing can train it then.

    Args:
        job: with its dates as :func:`begun` moves them.
        tape: the nights.
        begin: number of the night.
        replanned: follow the verdict of every night, or stay with the first plan.
    """
    start = tape.dates[begin]
    verdict = decide(job, None, tape.markets[begin], start)
    if verdict.target is None:
        return None
    clock = _Clock(job, tape, start, start, begin)
    clock.take(verdict.target, verdict.kind, verdict.change_usd or 0.0)
    night = begin
    while True:
        following = tape.dates[night + 1] if night + 1 < len(tape.dates) else None
        # Between two books nothing changes but that a cool-down ends.
        rested = datetime.date.fromisoformat(clock.plan.since) + datetime.timedelta(  # type: ignore[union-attr]
            days=math.ceil(job.rules.cool_down_days)
        )
        pause = replanned and clock.date < rested and (following is None or rested < following)
        ended_s = clock.run(rested if pause else following)
        if ended_s is not None:
            limit = job.entry.deadline
            late = limit is not None and ended_s > (limit - start).days * DAY_S * (1 + 1e-9)
            return Course(clock.usd, ended_s / DAY_S, late, tuple(clock.moves))
        if not pause:
            night += 1
            clock.night = night
        if replanned:
            clock.decide()
