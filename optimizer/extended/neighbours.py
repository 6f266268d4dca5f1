"""Points near the best ones that were not looked at yet.

Genetic samplers soon ask for what is known already. Every such point is made up for by a neighbour of the best plans of
different structure, in which one or a few parameters are changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optimizer.extended.candidate import LIMITS, Candidate
from optimizer.extended.domain import Parameters
from optimizer.extended.problem import Figures, Problem

STRUCTURES = 12
"""Best plans whose neighbours are looked at, each of another structure."""

SPREAD = 0.1
"""Standard deviation of a change of a continuous parameter, as a share of its range."""

RESIZED = 2 / 3
"""Share of the neighbours whose cluster is as large as the deadline needs at about the speed of the plan nearby."""

SPEED_SPREAD = 0.05
"""Standard deviation of the logarithm of that speed."""

TRIES = 40
"""Changes tried for one new neighbour."""


def neighbours(problem: Problem, count: int, rng: np.random.Generator) -> list[Parameters]:
    """Up to so many points whose candidates are not known and differ from each other."""
    chosen = _elite(problem.known)
    found: dict[Candidate, Parameters] = {}
    for _ in range(TRIES * count):
        if len(found) == count or not chosen:
            break
        # The better a plan, the more of its neighbours.
        best = chosen[int(len(chosen) * rng.random() ** 2)]
        point = _changed(problem.domain.parameters(best), problem.domain.distributions, rng)
        if np.isfinite(problem.job.deadline_s) and rng.random() < RESIZED:
            late = problem.known[best].excess[LIMITS.index("deadline")]
            wanted = best.accelerators * (1.0 + late) * float(np.exp(rng.normal(0.0, SPEED_SPREAD)))
            point = problem.domain.resized(point, wanted)
        one = problem.domain.candidate(point)
        if one is not None and one not in problem.known:
            found[one] = point
    return list(found.values())


def _elite(known: Mapping[Candidate, Figures]) -> list[Candidate]:
    """The best plan of each of the best structures, by the first objective; what breaks limits least comes after."""

    def rank(one: Candidate) -> tuple[float, tuple[float, ...]]:
        figures = known[one]
        return sum(max(excess, 0.0) for excess in figures.excess), figures.values

    best: dict[tuple[int, ...], Candidate] = {}
    for one in sorted(known, key=rank):
        best.setdefault((one.site, one.tp, one.cp, one.ep, one.pp), one)
        if len(best) == STRUCTURES:
            break
    return list(best.values())


def _changed(point: Parameters, box: Mapping[str, BaseDistribution], rng: np.random.Generator) -> Parameters:
    """A point with one, two or more parameters changed."""
    names = list(box)
    size = min(int(rng.geometric(0.5)), len(names))
    return point | {
        name: _other(point[name], box[name], rng) for name in rng.choice(names, size, replace=False).tolist()
    }


def _other(value: object, distribution: BaseDistribution, rng: np.random.Generator) -> object:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if isinstance(distribution, IntDistribution):
        places = int(rng.choice((-1, 1))) * int(rng.geometric(0.6))
        return int(np.clip(int(value) + places, distribution.low, distribution.high))  # type: ignore[call-overload]
    assert isinstance(distribution, FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step or 0.0
    moved = float(value) + rng.normal(0.0, SPREAD * (high - low))  # type: ignore[arg-type]
    if step:
        moved = low + step * round((moved - low) / step)
    return float(np.clip(moved, low, high))
