"""Years of price books, night by night: what re-planning would have saved against deciding once.

Every job begins on every night (or on its own ``start``), and lives through the books that followed: once as it was
planned at first, once as the verdicts of each night advise. Both are charged by the same clock: rent by the hour at the
price of the day, a commitment to its end, the hours that a move loses, egress and penalties.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from catalogs.errors import DataFileError
from optimizer.replan.backtest_course import Course, course
from optimizer.replan.backtest_hindsight import Hindsight
from optimizer.replan.backtest_tape import Tape
from optimizer.replan.jobs import PlannedJob


def begun(job: PlannedJob, tape: Tape) -> list[tuple[int, PlannedJob]]:
    """The nights on which a job begins, and the job as it is then: whole, with as much time as it has.

    A job whose ``start`` lies within the nights begins then. Any other one begins on every night, with the time from
    its start (or the last night) to its deadline.

    Args:
        job: as the file has it; what is done and spent already does not count.
        tape: the nights.

    Raises:
        DataFileError: its deadline leaves no time.
    """
    first, last = tape.dates[0], tape.dates[-1]
    entry = job.entry
    within = entry.start is not None and first <= entry.start <= last
    from_date = entry.start or last
    span = None if entry.deadline is None else entry.deadline - from_date
    if span is not None and span.days <= 0:
        raise DataFileError(
            f"job {job.name!r}: deadline {entry.deadline} is not after {from_date}, from which its time is counted; "
            "give it a start"
        )
    nights = [n for n, date in enumerate(tape.dates) if not within or (entry.start and date >= entry.start)]
    found = []
    for night in nights[:1] if within else nights:
        deadline = None if span is None else tape.dates[night] + span
        moved = entry.model_copy(update={"start": None, "deadline": deadline, "current": None})
        whole = replace(job, entry=moved, tokens_done=0.0, tokens_per_s=None, spent_usd=0.0)
        found.append((night, whole))
    return found


@dataclass(frozen=True)
class Episode:
    """One job, begun on one night.

    Attributes:
        job: its name.
        begin: the night.
        once: with the first plan to the end.
        replanned: with every verdict followed.
        hindsight_usd: what the best sequence of plans would have cost, had all prices been known.
    """

    job: str
    begin: datetime.date
    once: Course
    replanned: Course
    hindsight_usd: float

    @property
    def switches(self) -> int:
        """Moves after the first plan."""
        return len(self.replanned.moves) - 1


@dataclass(frozen=True)
class Tally:
    """Some episodes together; money is the mean of an episode.

    Attributes:
        name: a job, or what the episodes have in common.
        episodes: how many.
        idle: nights on which nothing on offer could train the job in time.
        once_usd: with the first plan to the end.
        replanned_usd: with every verdict followed.
        hindsight_usd: with the best sequence of plans.
        regret: mean share by which re-planning costs more than hindsight.
        switches: moves after the first plan, in all.
        late_once, late_replanned: episodes that missed the deadline.
    """

    name: str
    episodes: int
    idle: int
    once_usd: float
    replanned_usd: float
    hindsight_usd: float
    regret: float
    switches: int
    late_once: int
    late_replanned: int

    @classmethod
    def of(cls, name: str, episodes: Sequence[Episode], idle: int = 0) -> Tally:
        """The tally of episodes (zeros where there are none)."""
        count = max(len(episodes), 1)
        return cls(
            name,
            len(episodes),
            idle,
            sum(one.once.usd for one in episodes) / count,
            sum(one.replanned.usd for one in episodes) / count,
            sum(one.hindsight_usd for one in episodes) / count,
            sum(one.replanned.usd / one.hindsight_usd - 1 for one in episodes) / count,
            sum(one.switches for one in episodes),
            sum(one.once.late for one in episodes),
            sum(one.replanned.late for one in episodes),
        )

    @property
    def saved(self) -> float:
        """Share of the money that re-planning saved."""
        return 1 - self.replanned_usd / self.once_usd if self.once_usd else 0.0

    def to_json(self) -> dict[str, Any]:
        """All fields, and the share saved."""
        return asdict(self) | {"saved": self.saved}


@dataclass(frozen=True)
class Backtest:
    """All episodes of some jobs.

    Attributes:
        episodes: by job, then by night.
        idle: by job, on how many nights nothing on offer could train it in time.
    """

    episodes: tuple[Episode, ...]
    idle: dict[str, int]

    @property
    def tallies(self) -> list[Tally]:
        """One per job, and all together."""
        jobs = [Tally.of(job, [e for e in self.episodes if e.job == job], idle) for job, idle in self.idle.items()]
        return [*jobs, Tally.of("all", self.episodes, sum(self.idle.values()))]


def backtest(jobs: Sequence[PlannedJob], tape: Tape, *, progress: Callable[[int, int], None] | None = None) -> Backtest:
    """Every job on every night on which it begins.

    Args:
        jobs: the jobs, each with its rules.
        tape: the nights.
        progress: called with episodes done and in all.
    """
    starts = [(job, begun(job, tape)) for job in jobs]
    total, done = sum(len(begins) for _, begins in starts), 0
    episodes, idle = [], dict.fromkeys((job.name for job in jobs), 0)
    for job, begins in starts:
        hindsight = Hindsight(tape)
        for night, one in begins:
            once, replanned = course(one, tape, night, replanned=False), course(one, tape, night, replanned=True)
            if once is None or replanned is None:
                idle[job.name] += 1
            else:
                known = min(once, replanned, key=lambda course: (course.late, course.usd))
                best = hindsight.usd(one, night, known)
                episodes.append(Episode(job.name, tape.dates[night], once, replanned, best))
            done += 1
            if progress is not None:
                progress(done, total)
    return Backtest(tuple(episodes), idle)
