"""Switching rules chosen from a grid by what they cost, and judged on jobs and nights that did not choose them.

The rules are chosen on one half of the episodes and judged on the other: the one half is every other job over the
earlier nights and the other jobs over the later ones, so that both halves know all jobs and both eras, and share no job
in the same era. Of the rules whose mean regret is within :data:`AS_GOOD` of the least, the one with the fewest moves is
chosen: a move takes people's time, which no bill shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from optimizer.replan.backtest import Backtest, Episode, Tally, begun
from optimizer.replan.backtest_course import course
from optimizer.replan.backtest_tape import Tape
from optimizer.replan.jobs import PlannedJob, Rules

SAVING_USD = (0.0, 100.0, 300.0, 1000.0, 3000.0)
SAVING_SHARE = (0.0, 0.02, 0.05, 0.1, 0.2)
COOL_DOWN_DAYS = (7.0, 30.0, 60.0)
"""Least saving, least share and rest that are tried together."""

AS_GOOD = 0.001
"""Mean regret by which a rule with fewer moves may be worse."""


@dataclass(frozen=True)
class Tried:
    """What some rules cost.

    Attributes:
        rules: the rules.
        choosing: on the half that chooses.
        judging: on the half that judges.
    """

    rules: Rules
    choosing: Tally
    judging: Tally


def try_rules(
    jobs: Sequence[PlannedJob],
    tape: Tape,
    found: Backtest,
    grid: Sequence[Rules],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tried]:
    """What every one of some rules costs on both halves.

    Args:
        jobs: the jobs.
        tape: the nights.
        found: their backtest, for what deciding once and hindsight cost.
        grid: the rules.
        progress: called with rules done and in all.
    """
    middle = tape.dates[len(tape.dates) // 2]
    first = {job.name: place % 2 == 0 for place, job in enumerate(jobs)}
    known = {(one.job, one.begin): one for one in found.episodes}
    starts = [(night, one) for job in jobs for night, one in begun(job, tape)]
    tried = []
    for rules in grid:
        halves: tuple[list[Episode], list[Episode]] = ([], [])
        for night, one in starts:
            date = tape.dates[night]
            episode = known.get((one.name, date))
            if episode is None:
                continue
            went = course(replace(one, rules=rules), tape, night, replanned=True)
            if went is not None:
                best = min(episode.hindsight_usd, went.usd)
                halves[first[one.name] != (date < middle)].append(replace(episode, replanned=went, hindsight_usd=best))
        tried.append(Tried(rules, Tally.of("choosing", halves[0]), Tally.of("judging", halves[1])))
        if progress is not None:
            progress(len(tried), len(grid))
    return tried


def whole_grid() -> list[Rules]:
    """All rules that are tried."""
    return [
        Rules(min_saving_usd=usd, min_saving_share=share, cool_down_days=days)
        for usd, share, days in product(SAVING_USD, SAVING_SHARE, COOL_DOWN_DAYS)
    ]


def chosen(tried: Sequence[Tried]) -> Tried:
    """The rules with the fewest moves of those that are about as good as the best, on the half that chooses."""
    best = min(one.choosing.regret for one in tried)
    good = [one for one in tried if one.choosing.regret <= best + AS_GOOD]
    return min(good, key=lambda one: (one.choosing.switches, one.choosing.regret))
