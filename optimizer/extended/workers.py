"""Several processes on one study; one that dies loses no more than the batch it was working on."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version

from optuna.study import Study

from catalogs.catalog import Catalog
from optimizer.extended.candidate import Candidate, Extension
from optimizer.extended.problem import Objective, Problem
from optimizer.extended.sampler import SamplerName
from optimizer.extended.storage import open_study
from optimizer.extended.study import Sampling
from optimizer.job import Job
from optimizer.site import Site

POLL_S = 0.2


@dataclass(frozen=True)
class Task:
    """Everything that a process needs to work on a study.

    Attributes:
        job, sites, catalog, extend, objectives, batch_range: the problem.
        sampler, seed: how it is sampled.
        storage: URL of where (None: in memory).
    """

    job: Job
    sites: tuple[Site, ...]
    catalog: Catalog
    extend: frozenset[Extension]
    objectives: tuple[Objective, ...]
    batch_range: float
    sampler: SamplerName
    seed: int
    storage: str | None

    @property
    def study(self) -> str:
        """The name of the study: equal questions at equal prices share one, whatever they are called."""
        asked = (self.job, self.sites, sorted(self.extend), self.objectives, self.batch_range, self.sampler, self.seed)
        digest = hashlib.sha256(repr((version("clusterplan"), asked)).encode()).hexdigest()
        return f"{self.job.model.name}-{digest[:16]}"

    def problem(self) -> Problem:
        """The problem, built anew."""
        return Problem(self.job, self.sites, self.catalog, self.extend, self.objectives, self.batch_range)

    def open(self) -> AbstractContextManager[Study | None]:
        """The shared study."""
        return nullcontext() if self.storage is None else open_study(self.storage, self.study, len(self.objectives))


def run_workers(
    task: Task, starts: Sequence[Candidate], points: int, workers: int, report: Callable[[int], None]
) -> int:
    """Sample so many points with several processes; gives how many processes died before they were done.

    An interrupt ends the processes and is raised again.
    """
    context = multiprocessing.get_context("spawn")
    quotas = [points // workers + (place < points % workers) for place in range(workers)]
    done = context.Array("l", workers)
    processes = [
        context.Process(target=_work, args=(task, starts if place == 0 else (), quota, place, done), daemon=True)
        for place, quota in enumerate(quotas)
    ]
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            time.sleep(POLL_S)
            report(sum(done[place] for place in range(workers)))
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        raise
    return sum(process.exitcode != 0 for process in processes)


def _work(task: Task, starts: Sequence[Candidate], points: int, place: int, done: Sequence[int]) -> None:
    def report(count: int) -> None:
        done[place] = count  # type: ignore[index]

    with task.open() as shared:
        sampling = Sampling(task.problem(), task.sampler, task.seed, shared, place)
        sampling.start_from(starts)
        try:
            sampling.run(points, report)
        except KeyboardInterrupt:
            raise SystemExit(1) from None
