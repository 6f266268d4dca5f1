"""Sampling without a start: it comes near the proven optimum, and what it asks for near the best is new."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.extended.neighbours import neighbours
from optimizer.extended.problem import Problem
from optimizer.extended.sampler import default_sampler
from optimizer.extended.study import BATCH, Sampling
from tests.extended.jobs import ALL, CATALOG, JOBS, exact, found

NEAR = 0.005


def fresh(name: str, *extend: str) -> Problem:
    return Problem(JOBS[name], found(name), CATALOG, frozenset(extend))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dense", "moe", "zero bubble"])
def test_sampling_from_nothing_comes_near_the_proven_optimum(name: str) -> None:
    problem = fresh(name)
    sampling = Sampling(problem, default_sampler(("cost",)), 0)
    least = exact(name)[0].cost_usd
    while problem.evaluated < 2000:
        sampling.run(BATCH)
        if (plans := problem.feasible()) and plans[0][0][0] <= least * (1 + NEAR):
            break
    assert plans[0][0][0] <= least * (1 + NEAR)
    assert plans[0][0][0] >= least * (1 - 1e-12)


@pytest.mark.parametrize("extend", [(), ALL], ids=["enumerable", "extended"])
def test_neighbours_are_new_and_differ(extend: tuple[str, ...]) -> None:
    problem, rng = fresh("moe", *extend), np.random.default_rng(0)
    assert neighbours(problem, 8, rng) == []  # of nothing
    problem.evaluate(problem.starts(exact("moe")))
    before = set(problem.known)
    for _ in range(4):
        candidates = [problem.domain.candidate(point) for point in neighbours(problem, 24, rng)]
        assert len(candidates) == len(set(candidates)) == 24
        assert not before & set(candidates)
        problem.evaluate(one for one in candidates if one is not None)
        before = set(problem.known)


def test_a_degree_grows_and_shrinks_by_about_a_factor() -> None:
    domain = fresh("deep").domain
    values = domain.lists["tp"]
    point = {"tp": values.index(4)}
    assert values[domain.scaled(point, "tp", 2.0)["tp"]] == 8
    assert values[domain.scaled(point, "tp", 0.5)["tp"]] == 2
    assert domain.scaled({"tp": 0}, "tp", 0.5) == {"tp": 0}  # there is no smaller one
