"""Points near the best ones that were not looked at yet.

Samplers alone soon ask for what is known already, and hardly ever change at once the few degrees that go together.
Neighbours of the best plans of different structure do: one degree changes, or one makes up for another, or several
change, and the cluster becomes as large as the deadline then needs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optimizer.extended.candidate import LIMITS, Candidate
from optimizer.extended.domain import Domain, Parameters
from optimizer.extended.problem import IMPOSSIBLE, Figures, Objective, Problem

STRUCTURES = 12
"""Best plans whose neighbours are looked at, each of another structure."""

MOVES = {"size": 0.15, "one": 0.35, "pair": 0.25, "several": 0.25}
"""Shares of the ways to a neighbour: another size of the cluster, one parameter, two degrees together, any number."""

FACTORS = (1.5, 2.0, 2.0, 2.0, 3.0)
"""By what two degrees change together; most degrees are powers of two."""

TOGETHER = 1 / 3
"""Share of the pairs in which both degrees grow; in the others one makes up for the other."""

JUMPS = 0.3
"""Share of the changes of a degree that lead anywhere; the others lead to a value nearby."""

SPREAD = 0.1
"""Standard deviation of a change of a continuous parameter, as a share of its range."""

RESIZED = 2 / 3
"""Share of the neighbours whose cluster is as large as the deadline needs at about the speed of the plan nearby; that
of the others is as large as there."""

SPEED_SPREAD = 0.05
"""Standard deviation of the logarithm of that speed."""

TRIES = 40
"""Changes tried for one new neighbour."""

DEGREES = ("tp", "cp", "ep", "pp", "vpp", "micro_batch")
"""Degrees that change in pairs."""

SIZED: frozenset[Objective] = frozenset({"cost", "accelerators"})
"""Objectives for which the smallest cluster in time is best, or nearly so."""


def neighbours(problem: Problem, count: int, rng: np.random.Generator) -> list[Parameters]:
    """Up to so many points whose candidates are not known and differ from each other."""
    elites = [_elite(problem.known, rng, strict=strict) for strict in (True, False)] if problem.known else []
    found: dict[Candidate, Parameters] = {}
    for _ in range(TRIES * count):
        if len(found) == count or not elites:
            break
        chosen = elites[int(rng.integers(len(elites)))]
        # The better a plan, the more of its neighbours.
        point = _moved(problem, chosen[int(len(chosen) * rng.random() ** 2)], rng)
        one = problem.domain.candidate(point)
        if one is not None and one not in problem.known:
            found[one] = point
    return list(found.values())


def _elite(known: Mapping[Candidate, Figures], rng: np.random.Generator, *, strict: bool) -> list[Candidate]:
    """The best plan of each of the best structures, by a random mean of the ranks in all objectives.

    What breaks a limit comes last (strict), or is as much worse as it exceeds the limit: some of it is better than all
    that keeps them, and one change away from keeping them.
    """
    candidates = list(known)
    values = np.array([figures.values for figures in known.values()])
    over = np.maximum(np.array([figures.excess for figures in known.values()]), 0.0)
    if strict:
        # Values of plans that keep the limits stay, all others come after them by what they exceed.
        values = np.where(over.any(axis=1, keepdims=True), IMPOSSIBLE * (1.0 + over.sum(axis=1, keepdims=True)), values)
    else:
        values = values * np.prod(1.0 + over, axis=1, keepdims=True)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    order: NDArray[np.intp] = np.argsort(ranks @ rng.dirichlet(np.ones(values.shape[1])), kind="stable")
    best: dict[tuple[int, ...], Candidate] = {}
    for place in order.tolist():
        one = candidates[place]
        best.setdefault((one.site, one.tp, one.cp, one.ep, one.pp), one)
        if len(best) == STRUCTURES:
            break
    return list(best.values())


def _moved(problem: Problem, best: Candidate, rng: np.random.Generator) -> Parameters:
    """A point near a plan."""
    domain = problem.domain
    point, move = domain.parameters(best), str(rng.choice(list(MOVES), p=list(MOVES.values())))
    if move == "size":
        return domain.shifted(point, int(rng.choice((-2, -1, 1))))
    if move == "pair":
        point = _paired(domain, point, rng)
    else:
        count = 1 if move == "one" else int(rng.geometric(0.5))
        point = _changed(point, domain.distributions, count, rng)
    wanted = float(best.accelerators)
    late = problem.known[best].excess[LIMITS.index("deadline")]
    timed = np.isfinite(problem.job.deadline_s) and not SIZED.isdisjoint(problem.objectives)
    if timed and (late > 0 or rng.random() < RESIZED):
        wanted *= (1.0 + late) * float(np.exp(rng.normal(0.0, SPEED_SPREAD)))
    return domain.resized(point, wanted)


def _paired(domain: Domain, point: Parameters, rng: np.random.Generator) -> Parameters:
    """A point with two degrees changed by about the same factor, the second up or down."""
    names = [name for name in DEGREES if name in domain.distributions]
    if len(names) < 2:
        return point
    first, second = rng.choice(names, 2, replace=False).tolist()
    factor = float(rng.choice(FACTORS))
    other = factor if rng.random() < TOGETHER else 1.0 / factor
    return domain.scaled(domain.scaled(point, first, factor), second, other)


def _changed(
    point: Parameters, box: Mapping[str, BaseDistribution], count: int, rng: np.random.Generator
) -> Parameters:
    """A point with so many parameters changed."""
    names = rng.choice(list(box), min(count, len(box)), replace=False).tolist()
    return point | {name: _other(point[name], box[name], rng) for name in names}


def _other(value: object, distribution: BaseDistribution, rng: np.random.Generator) -> object:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if isinstance(distribution, IntDistribution):
        if rng.random() < JUMPS:
            return int(rng.integers(distribution.low, distribution.high + 1))
        places = int(rng.choice((-1, 1))) * int(rng.geometric(0.6))
        return int(np.clip(int(value) + places, distribution.low, distribution.high))  # type: ignore[call-overload]
    assert isinstance(distribution, FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step or 0.0
    moved = float(value) + rng.normal(0.0, SPREAD * (high - low))  # type: ignore[arg-type]
    if step:
        moved = low + step * round((moved - low) / step)
    return float(np.clip(moved, low, high))
