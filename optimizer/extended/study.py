"""Sampling in batches: ask many, evaluate what is new together, tell all, and put the batch into the storage.

The sampler works on a study in memory; finished batches go to the storage, and those of other processes come from it.
So no sampler waits for a database, and a process that is killed loses no more than its running batch.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.extended.candidate import LIMITS, Candidate
from optimizer.extended.neighbours import neighbours
from optimizer.extended.problem import Figures, Problem
from optimizer.extended.sampler import SamplerName, make_sampler

BATCH = 32
"""Points asked for at once."""

NEIGHBOURS = 3 / 4
"""Share of the points that are neighbours of the best, at least; the sampler chooses the others."""

POINT = "point"
"""The one attribute of a stored trial: who sampled it, its parameters, and by how much each limit is exceeded.

Databases take as long for one parameter as for one trial, so they are kept together."""


class Sampling:
    """A study of a problem, alone or shared with other processes.

    Attributes:
        problem: what is minimised.
        points: points sampled, by all processes as far as known here.

    Args:
        problem: what is minimised.
        sampler, seed: of what is not a neighbour.
        shared: the study in the storage.
        worker: its place among the processes of one study.
        near: share of the points that are neighbours of the best, at least; 0: none ever.
    """

    def __init__(
        self,
        problem: Problem,
        sampler: SamplerName,
        seed: int,
        shared: Study | None = None,
        worker: int = 0,
        near: float = NEIGHBOURS,
    ) -> None:
        self.problem, self.points, self._shared, self._near = problem, 0, shared, near
        self._name, self._taken = uuid.uuid4().hex, set[int]()
        earlier = self._others()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # Neither other workers nor a resumed study may draw again what was drawn before.
            own_seed = int(np.random.SeedSequence([seed, worker, len(earlier)]).generate_state(1)[0])
            chosen = make_sampler(sampler, own_seed)
            self._study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=chosen)
        self._rng = np.random.default_rng(own_seed)
        self._take(earlier)

    def start_from(self, candidates: Iterable[Candidate]) -> None:
        """Ask for these candidates first."""
        for one in candidates:
            self._study.enqueue_trial(self.problem.domain.parameters(one), skip_if_exists=True)

    def run(self, points: int, report: Callable[[int], None] = lambda _: None) -> None:
        """Sample so many points more; an exception loses no more than the batch that it interrupts."""
        done = 0
        while done < points:
            self.catch_up()
            size = min(BATCH, points - done)
            self._batch(size)
            done += size
            report(done)

    def catch_up(self) -> None:
        """Learn what other processes have put into the storage."""
        self._take(self._others())

    def _batch(self, size: int) -> None:
        domain, problem = self.problem.domain, self.problem
        trials = [self._study.ask(domain.distributions) for _ in range(size)]
        candidates = [domain.candidate(trial.params) for trial in trials]
        before = problem.evaluated
        problem.evaluate(one for one in candidates if one is not None)
        told = []
        for trial, one in zip(trials, candidates, strict=True):
            figures = problem.nothing if one is None else problem.known[one]
            for name, excess in zip(LIMITS, figures.excess, strict=True):
                trial.set_constraint(name, excess)
            told.append(self._study.tell(trial, figures.values))
        self.points += size
        if self._shared is not None:
            self._shared.add_trials([self._packed(trial) for trial in told])
        # What was known already is made up for by something new near the best, and most of it is asked for always.
        count = max(size - problem.evaluated + before, round(self._near * size)) if self._near else 0
        for point in neighbours(problem, count, self._rng):
            self._study.enqueue_trial(point)

    def _others(self) -> list[FrozenTrial]:
        """Points in the storage that other processes, or earlier ones, have sampled and that are not taken yet."""
        if self._shared is None:
            return []
        stored = self._shared.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [t for t in stored if t.number not in self._taken and t.user_attrs[POINT]["worker"] != self._name]

    def _take(self, trials: Sequence[FrozenTrial]) -> None:
        """Learn from points of others; nothing is evaluated again."""
        self._taken.update(trial.number for trial in trials)
        for trial in trials:
            point = trial.user_attrs[POINT]
            one = self.problem.domain.candidate(point["params"])
            if one is not None:
                self.problem.known.setdefault(one, Figures(tuple(trial.values), tuple(point["excess"])))
            self._study.add_trial(
                create_trial(
                    values=trial.values,
                    params=point["params"],
                    distributions=self.problem.domain.distributions,
                    constraints=dict(zip(LIMITS, point["excess"], strict=True)),
                )
            )
        self.points += len(trials)

    def _packed(self, trial: FrozenTrial) -> FrozenTrial:
        excess = [trial.constraints[name] for name in LIMITS]
        point = {"worker": self._name, "params": trial.params, "excess": excess}
        return create_trial(values=trial.values, user_attrs={POINT: point})
