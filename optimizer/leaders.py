"""What a search keeps of the candidates it evaluates: the best few of different structure, or the whole front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from costmodels.layout import ALL_LAYERS
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.site import Site
from optimizer.space import Space
from optimizer.tariff import Tariff


@dataclass(frozen=True)
class Leader:
    """A candidate with its figures.

    Attributes:
        score: the objective (USD, seconds or accelerators).
        cost_usd, wall_s, accelerators: its figures.
        layout: degrees by name.
        job, physics, space: what was searched, and where.
        tariff: how it is paid for.
    """

    score: float
    cost_usd: float
    wall_s: float
    accelerators: int
    layout: dict[str, int]
    job: Job
    physics: Physics
    space: Space
    tariff: Tariff

    @property
    def site(self) -> Site:
        """Where it is."""
        return self.physics.site

    @property
    def structure(self) -> tuple[object, ...]:
        """What makes two candidates different plans rather than variations of one.

        Where a framework splits neither tensors nor layers, recomputation is what is left to choose.
        """
        framework, layout = self.site.framework, self.layout
        split = framework.tensor_parallel or framework.pipeline_parallel
        return (
            self.tariff.price.offer.name,
            *(layout[name] for name in ("tp", "cp", "ep", "pp")),
            max(layout["zero"], 1),
            layout["zero_group"] > 0,
            0 if split else min(layout["recompute_layers"], 1) + (layout["recompute_layers"] >= ALL_LAYERS),
        )

    @property
    def order(self) -> tuple[object, ...]:
        """Ranking: objective, cost, time, accelerators, then the degrees and the offer, so that ties are settled."""
        return (
            self.score,
            self.cost_usd,
            self.wall_s,
            self.accelerators,
            *self.layout.values(),
            self.tariff.price.offer.name,
        )


class Keeper(Protocol):
    """Keeps what it wants of the candidates that a search shows it."""

    @property
    def threshold(self) -> float:
        """The score above which it keeps no candidate."""

    def consider(self, scored: Scored) -> None:
        """Keep what is wanted of a block."""


class Leaders:
    """The best candidates of different structure: a fixed number of them, or all within a share of the best.

    Attributes:
        keep: how many (None: no limit).
        within: share of the best score by which a leader may be worse (None: any).
        threshold: the score above which no candidate can become a leader: the job's own limit at first.
    """

    def __init__(self, keep: int | None, limit: float = float("inf"), *, within: float | None = None) -> None:
        self.keep, self.within = keep, within
        self._best: dict[tuple[object, ...], Leader] = {}
        self.threshold = limit

    def consider(self, scored: Scored) -> None:
        """Take the best candidate of every row of a block, as far as it is good enough."""
        scores = scored.score.min(axis=2)
        groups, rows = np.nonzero((scores <= self.threshold) & np.isfinite(scores))
        for at in np.argsort(scores[groups, rows], kind="stable"):
            group, row = int(groups[at]), int(rows[at])
            if scores[group, row] > self.threshold:
                break
            # Of equal scores the documented order takes the earlier, or cheaper, plan; then the smaller cluster.
            best = scored.score[group, row] <= scores[group, row]
            self.add(scored.leader(group, row, int(np.argmin(np.where(best, scored.second[group, row], np.inf)))))

    def add(self, leader: Leader) -> None:
        """Consider a candidate."""
        known = self._best.get(leader.structure)
        if known is not None and known.order <= leader.order:
            return
        self._best[leader.structure] = leader
        if self.keep is not None and len(self._best) > self.keep:
            worst = max(self._best.values(), key=lambda one: one.order)
            del self._best[worst.structure]
        if self.keep is not None and len(self._best) == self.keep:
            self.threshold = min(self.threshold, max(one.score for one in self._best.values()))
        if self.within is not None:
            self.threshold = min(self.threshold, leader.score * (1 + self.within))

    def ranked(self) -> list[Leader]:
        """Best first."""
        ranked = sorted(self._best.values(), key=lambda one: one.order)
        if self.within is not None:
            ranked = [one for one in ranked if one.score <= ranked[0].score * (1 + self.within)]
        return ranked


class Front:
    """The candidates that no other one beats in cost, time and cluster size together.

    For one way of paying and one cluster size, cost grows with time: the fastest candidate of each is enough to know
    the front exactly.
    """

    threshold = float("inf")

    def __init__(self) -> None:
        self._fastest: dict[str, NDArray[np.float64]] = {}
        self._leaders: dict[tuple[str, int], Leader] = {}

    def consider(self, scored: Scored) -> None:
        """Keep the fastest candidate of every cluster size of a block."""
        groups, rows, places = np.nonzero(np.isfinite(scored.score))
        if not rows.size:
            return
        sizes = scored.accelerators[groups, 0, places].astype(np.int64)
        wall_s = scored.wall_s[groups, rows, places]
        order = np.lexsort((wall_s, sizes))
        first = order[np.flatnonzero(np.diff(sizes[order], prepend=-1))]
        offer = scored.tariff.price.offer.name
        fastest = self._fastest.get(offer, np.empty(0))
        if len(fastest) <= sizes.max():
            fastest = np.concatenate([fastest, np.full(int(sizes.max()) + 1 - len(fastest), np.inf)])
            self._fastest[offer] = fastest
        for one in first[wall_s[first] < fastest[sizes[first]]]:
            size = int(sizes[one])
            fastest[size] = wall_s[one]
            self._leaders[offer, size] = scored.leader(int(groups[one]), int(rows[one]), int(places[one]))

    def ranked(self) -> list[Leader]:
        """The front, cheapest first."""
        leaders = sorted(self._leaders.values(), key=lambda one: one.order)
        figures = np.array([(one.cost_usd, one.wall_s, one.accelerators) for one in leaders]).reshape(-1, 3)
        front = []
        for place, one in enumerate(leaders):
            no_worse = (figures <= figures[place]).all(axis=1)
            better = (figures < figures[place]).any(axis=1)
            if not (no_worse & better).any():
                front.append(one)
        return front


@dataclass(frozen=True)
class Scored:
    """A block of candidates with their figures: groups, rows and data-parallel degrees.

    Attributes:
        job, physics, space: what is searched, and where.
        tariff: how it is paid for.
        layout: degrees of the candidate of a group, row and place.
        sequences: gives the sequences that a step of each degree trains, shape as ``accelerators``.
        score: what is minimised (infinite where a constraint is broken), shape (groups, rows, degrees).
        second: what settles equal scores.
        cost, wall_s: figures of each candidate.
        accelerators: of each degree, shape (groups, 1, degrees).
    """

    job: Job
    physics: Physics
    space: Space
    tariff: Tariff
    layout: Callable[[int, int, int], dict[str, int]]
    sequences: Callable[[], NDArray[np.float64]]
    score: NDArray[np.float64]
    second: NDArray[np.float64]
    cost: NDArray[np.float64]
    wall_s: NDArray[np.float64]
    accelerators: NDArray[np.float64]

    def leader(self, group: int, row: int, place: int) -> Leader:
        """One candidate as a leader."""
        at = group, row, place
        return Leader(
            score=float(self.score[at]),
            cost_usd=float(self.cost[at]),
            wall_s=float(self.wall_s[at]),
            accelerators=int(self.accelerators[group, 0, place]),
            layout=self.layout(*at),
            job=self.job,
            physics=self.physics,
            space=self.space,
            tariff=self.tariff,
        )
