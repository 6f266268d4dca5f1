"""Candidates with the bubble of their own schedule: the longest path through its graph, where it is the longer one.

The closed form is exact for equal stages. Where stages differ, waiting may be longer than it says (its property tests
say where), so nothing is recommended before its path has been looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from costmodels.columns import Column
from costmodels.layout import Pipe
from costmodels.schedule import bubble_seconds
from optimizer.extended.candidate import EVEN, FITTED, Candidate, Outcome
from optimizer.extended.ground import Ground
from optimizer.extended.problem import Problem
from optimizer.pipeline_graph import Passes, step_graph

T = TypeVar("T")

TURNS = 4
"""Micro-batches per stage of the longest step whose graph is built: with more, the bubble does not grow."""


@dataclass(frozen=True)
class Settled:
    """A candidate as it is recommended.

    Attributes:
        candidate, outcome: with the longer of the two bubbles.
        values: objectives.
        longer_s: seconds by which the longest path is longer than the closed form.
        time: seconds of a step by component.
    """

    candidate: Candidate
    outcome: Outcome
    values: tuple[float, ...]
    longer_s: float
    time: dict[str, float]


def settle(problem: Problem, one: Candidate) -> Settled:
    """A candidate with the longer of the two bubbles."""
    ground = problem.grounds[one.site]
    stages_differ = one.pp > 1 and (one.split != EVEN or one.recompute == FITTED)
    longer_s = longer_bubble_s(ground, one) if stages_differ else 0.0
    (outcome,) = ground.evaluate([one], longer_s)
    return Settled(one, outcome, problem.figures(outcome).values, longer_s, ground.step_components(one, longer_s))


def best(problem: Problem) -> Settled | None:
    """The best candidate of all that were evaluated; None if none is feasible (one objective)."""
    found: Settled | None = None
    for values, one in problem.feasible():
        if found is not None and values >= found.values:
            break
        new = settle(problem, one)
        if new.outcome.feasible and (found is None or new.values < found.values):
            found = new
    return found


def front(problem: Problem) -> list[Settled]:
    """The candidates that no other one beats in all objectives together, best in the first one first."""
    ready = [settle(problem, one) for _, one in _undominated(problem.feasible())]
    kept = sorted(((one.values, one) for one in ready if one.outcome.feasible), key=lambda pair: pair[0])
    return [one for _, one in _undominated(kept)]


def _undominated(ranked: Iterable[tuple[tuple[float, ...], T]]) -> list[tuple[tuple[float, ...], T]]:
    """Of pairs in ascending order of their values, those whose values no other one beats or equals."""
    kept: list[tuple[tuple[float, ...], T]] = []
    for values, one in ranked:
        if not any(all(a <= b for a, b in zip(other, values, strict=True)) for other, _ in kept):
            kept.append((values, one))
    return kept


def longer_bubble_s(ground: Ground, one: Candidate) -> float:
    """Seconds by which the slowest stage waits longer along the schedule's longest path than the closed form says."""
    seconds = ground.stage_seconds(one)
    turns = min(one.micro_batches, TURNS * one.pp)
    graph = step_graph(one.pp, one.vpp, turns, bool(one.zero_bubble))

    def per_chunk(stage_s: Column) -> Column:
        return np.repeat(stage_s[:, None] / one.vpp, one.vpp, axis=1)

    weight = seconds.weight_gradient
    path = graph.makespan(
        Passes(
            forward=per_chunk(seconds.forward),
            backward=per_chunk(seconds.backward - weight + seconds.recompute + seconds.offload),
            weight=per_chunk(weight),
            message=np.zeros(()),
        )
    )
    slowest = np.asarray(np.max(seconds.total))
    pipe = Pipe.from_values(pp=one.pp, vpp=one.vpp, zero_bubble=one.zero_bubble)
    closed = bubble_seconds(pipe, slowest, np.asarray(np.sum(seconds.total)), np.asarray(np.mean(weight)))
    return max(float(path - turns * slowest - closed), 0.0)
