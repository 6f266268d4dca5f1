"""One site of the extended space: candidates evaluated many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.interval import probability_below
from costmodels.stage_costs import StageCosts, loaded_stage_costs
from costmodels.stage_params import stage_params
from costmodels.stage_seconds import StageSeconds
from optimizer.expert_overlap import ExpertOverlap
from optimizer.extended.candidate import Candidate, Extension, Outcome
from optimizer.extended.pools import Pools
from optimizer.extended.stages import loads
from optimizer.extended.table import Table
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.site import Price, Site
from optimizer.site_search import SiteSearch
from optimizer.space import Spaces


class Ground:
    """A site for the extended space.

    Attributes:
        site, physics, pools: what it is, how fast, how it is paid for.
        enumerable: its search in the enumerable space, without caps on the offers: degrees and bounds.
        least, limit: accelerators at least, for the deadline at the peak of their arithmetic, and at most.
    """

    def __init__(
        self,
        job: Job,
        site: Site,
        catalog: Catalog,
        spaces: Spaces,
        extend: frozenset[Extension],
    ) -> None:
        self.job, self.site, self.extend = job, site, extend
        self.physics = Physics.of(job, site, catalog)
        self.pools = Pools(site, catalog, mixed="offers" in extend)
        uncapped = replace(site, prices=tuple(_uncapped(price) for price in site.prices))
        # Its bounds hold for every batch of the range, which the job of the spaces has.
        self.enumerable = SiteSearch(spaces.job, uncapped, catalog, "cost", spaces)
        self.limit = int(min(self.pools.limit, job.max_accelerators, site.max_accelerators))
        self.least = self.physics.ideal_accelerator_s / job.deadline_s
        self._deviations = NormalDist().inv_cdf(job.confidence)

    @property
    def floor(self) -> float:
        """USD that no candidate of this site can go below, extended or not."""
        return self.enumerable.floor

    def evaluate(self, candidates: Sequence[Candidate], longer_s: Column | float = 0.0) -> list[Outcome]:
        """What the models say of candidates of this site, all at once.

        Args:
            candidates: all of this site.
            longer_s: seconds by which the bubble of a step is longer than its closed form, 0-d or (candidates, 1).
        """
        t = Table.of(self.physics, candidates)
        layers, recomputed, possible = loads(t)
        parts = self._step(t, layers, recomputed, longer_s)
        step_s: Column = np.broadcast_to(sum(parts.values(), start=np.zeros(())), t.shard.tp.shape)
        accelerators = np.array([float(one.accelerators) for one in candidates])
        goodput = self.physics.goodput(accelerators)
        wall_s = self.physics.wall(step_s, t.shard, t.replicas, goodput[:, None])[:, 0]
        held = t.memory(layers)(recomputed / np.maximum(layers, 1.0))
        memory = np.where(t.exists, held, 0.0)
        sigma = self.physics.days_sigma(accelerators, wall_s, goodput)
        cost, servers = self.pools.cheapest(accelerators, wall_s)
        latest = wall_s * np.exp(self._deviations * sigma) if self._deviations else wall_s
        deadline, late = np.asarray(self.job.deadline_s), np.zeros(len(candidates))
        if np.isfinite(deadline):
            late = 1.0 - probability_below(deadline, wall_s, sigma)
        excess = np.stack(
            [
                np.max(memory, axis=1) / self.physics.room_bytes - 1.0,
                latest / deadline - 1.0,
                cost / self.job.budget_usd - 1.0,
                accelerators / self.limit - 1.0,
                np.where(possible, 0.0, 1.0),
            ],
            axis=1,
        )
        return [
            Outcome(
                cost_usd=float(cost[row]),
                wall_s=float(wall_s[row]),
                goodput=float(goodput[row]),
                step_s=float(step_s[row, 0]),
                accelerators=one.accelerators,
                late=float(late[row]),
                excess=tuple(excess[row].tolist()),
                layers=tuple(round(n) for n in layers[row, : one.pp].tolist()),
                recomputed=tuple(round(n) for n in recomputed[row, : one.pp].tolist()),
                memory_bytes=tuple(memory[row, : one.pp].tolist()),
                servers=servers[row],
            )
            for row, one in enumerate(candidates)
        ]

    def expert_overlap(self, one: Candidate) -> ExpertOverlap | None:
        """Whether a candidate's experts exchange tokens beside another micro-batch (None: none do, or no switch)."""
        t = Table.of(self.physics, [one])
        _, recomputed, _ = loads(t)
        lacks = self.physics.overlap_lacks(t.shard, t.pipe, t.replicas, np.asarray(np.max(recomputed)))
        return None if lacks is None or one.ep == 1 else ExpertOverlap(tuple(lacks), self.site.framework.expert_overlap)

    def stage_seconds(self, one: Candidate) -> StageSeconds:
        """Seconds of one micro-batch on every stage of a candidate."""
        t = Table.of(self.physics, [one])
        layers, recomputed, _ = loads(t)
        seconds = t.seconds(layers, recomputed, _beside(t, recomputed))
        return seconds.map(lambda c: np.broadcast_to(c, t.exists.shape)[0])

    def step_components(self, one: Candidate, longer_s: float) -> dict[str, float]:
        """Seconds of one step of a candidate by component."""
        t = Table.of(self.physics, [one])
        layers, recomputed, _ = loads(t)
        parts = self._step(t, layers, recomputed, longer_s)
        return {name: float(np.ravel(seconds)[0]) for name, seconds in parts.items()}

    def _step(self, t: Table, layers: Column, recomputed: Column, longer_s: Column | float) -> dict[str, Column]:
        costs = self._costs(t, layers, recomputed)
        # The bubble is what all stages take beyond the slowest, over the chunks.
        costs = replace(costs, all_stages_s=costs.all_stages_s + longer_s * t.pipe.vpp)
        return self.physics.step(costs, t.shard, t.pipe, t.replicas)

    def _costs(self, t: Table, layers: Column, recomputed: Column) -> StageCosts:
        def existing(column: Column) -> Column:
            return np.where(t.exists, column, 0.0)

        beside = _beside(t, recomputed)
        seconds = t.seconds(layers, recomputed, beside).map(existing)
        params = stage_params(t.setting, t.pipe, t.stage, *t.kinds(layers)).map(existing)
        return loaded_stage_costs(t.setting, t.pipe, seconds, params, beside.astype(np.float64))


def _beside(t: Table, recomputed: Column) -> NDArray[np.bool_]:
    """Where the exchange of experts runs beside another micro-batch, (candidates, 1)."""
    most = np.max(np.where(t.exists, recomputed, 0.0), axis=1, keepdims=True)
    return t.beside(most)


def _uncapped(price: Price) -> Price:
    return replace(price, offer=price.offer.model_copy(update={"max_servers": None}))
