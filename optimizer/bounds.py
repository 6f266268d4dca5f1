"""Lower limits on the objective, below which no layout of a site, a shard or a stage row can stay.

They never change the answer, only the work: what cannot be better than the best plan found is not expanded.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from costmodels.columns import Column
from costmodels.layers import Layers
from costmodels.layout import Pipe
from costmodels.schedule import bubble_seconds
from costmodels.stage_seconds import stage_seconds
from costmodels.step import jitter_share
from optimizer.physics import Physics
from optimizer.space import Space
from optimizer.stage_table import Stages
from optimizer.tariff import Tariff

Objective = Literal["cost", "time", "accelerators"]

ROUNDING = 1e-12
"""Share by which bounds are lowered: more than the rounding of the few operations between two ways to one figure."""


class Bounds:
    """The bounds of one site for one job.

    Args:
        physics: of the site and the job.
        tariffs: ways of paying.
        space: of layouts.
        goodput: share of time that makes progress, by cluster size from 0 (a filler) to the largest.
        latest_s: wall-clock seconds by which every plan must end.
        objective: what is minimised.
    """

    def __init__(
        self,
        physics: Physics,
        tariffs: list[Tariff],
        space: Space,
        goodput: Column,
        latest_s: float,
        objective: Objective,
    ) -> None:
        self._physics, self._tariffs, self._space = physics, tariffs, space
        self._latest_s, self._objective = latest_s, objective
        # The best goodput of each cluster size or any larger one.
        self._best = np.maximum.accumulate(goodput[::-1])[::-1]
        # The most that any cluster gets done, as accelerators that never fail.
        self._most = float(np.max(np.arange(len(goodput)) * goodput))

    def shard_work_s(self, layers: Layers) -> Column:
        """Accelerator-seconds of progress that no layout with a shard can go below."""
        s, p = self._space.shards, self._physics
        whole = Pipe.from_values(pp=1, vpp=1, zero_bubble=0)
        a = p.architecture
        seconds = stage_seconds(p.setting(s), layers, whole, a.dense_layers, a.moe_layers, np.ones(()))
        once = seconds.forward + seconds.backward
        work_s: Column = s.tp * s.cp * once / (s.micro_batch * p.seq) * p.tokens
        return work_s

    def shard_floors(self, layers: Layers) -> Column:
        """The objective that no layout with a shard can go below."""
        s, work_s = self._space.shards, self.shard_work_s(layers)
        replicas = float(np.max(self._space.choices.pipe.pp, initial=1.0)) * self._space.replicas.most(s.micro_batch)
        largest = s.tp * s.cp * np.minimum(replicas, np.floor(self._space.replicas.limit / (s.tp * s.cp)))
        return self._floor(work_s, s.tp * s.cp, work_s / largest)

    def stage_floors(self, stages: Stages) -> Column:
        """The objective below which no number of replicas of a stage row can stay.

        The slowest stage is busy with every micro-batch. The deadline takes some number of replicas at least, which
        leaves each at most so many micro-batches to spread the bubble over, and has at least so many servers. The batch
        and the accelerators allow some number at most, which leaves each at least so many micro-batches one after the
        other; every step adds the bubble and what is outside the model.
        """
        p, s, world, counts = self._physics, stages.shard, stages.world, self._space.replicas
        slowest_s = stages.costs.slowest_s
        busy_s = world * slowest_s / (s.micro_batch * p.seq) * p.tokens
        bubble_s = bubble_seconds(stages.pipe, slowest_s, stages.costs.all_stages_s, stages.costs.weight_gradient_s)
        # The factor keeps rounding from demanding one replica more.
        fewest = np.maximum(np.ceil(busy_s / self._latest_s / world * (1 - 1e-9)), 1.0)
        jitter = 1.0 + jitter_share(world * fewest, p.device, p.efficiency)
        work_s = busy_s * (1.0 + bubble_s / (counts.micro_batches(fewest, s.micro_batch) * slowest_s)) * jitter
        replicas = np.minimum(counts.most(s.micro_batch), np.floor(counts.limit / world))
        steps = p.tokens / (counts.most(np.ones(())) * p.seq)
        progress_s = (busy_s / (world * replicas) + steps * bubble_s) * jitter + steps * p.efficiency.step_overhead_s
        return self._floor(work_s, world, progress_s)

    def _floor(self, work_s: Column, world: Column, progress_s: Column) -> Column:
        """The objective that no layout doing so much work can go below: by a hair less than computed.

        Failures add the least to work on the best cluster that is not smaller than a replica of ``world`` accelerators.
        What is charged for a whole term or server costs exactly its bound, and must not lose to rounding.

        Args:
            work_s: accelerator-seconds of progress, at least.
            world: accelerators of one replica.
            progress_s: seconds of progress, at least.
        """
        soonest_s = np.maximum(work_s / self._most, progress_s / self._best[world.astype(np.int64)])
        if self._objective == "time":
            return soonest_s * (1 - ROUNDING)
        # The deadline takes so many accelerators at least (the factor: rounding).
        least = np.maximum(world, np.floor(work_s / self._latest_s * (1 - 1e-9)))
        accelerator_s = work_s / self._best[np.minimum(least, len(self._best) - 1).astype(np.int64)]
        if self._objective == "accelerators":
            fewest = np.maximum(world, accelerator_s / self._latest_s * (1 - ROUNDING))
            return np.where(fewest > self._space.replicas.limit, np.inf, fewest)
        floors = [t.floor(accelerator_s, self._latest_s) for t in self._tariffs]
        cheapest = np.minimum.reduce(floors) if floors else np.full(accelerator_s.shape, np.inf)
        # What misses the deadline on every accelerator there may be has no cost at all (the factor: rounding).
        return np.where(soonest_s > self._latest_s * (1 + 1e-9), np.inf, cheapest * (1 - ROUNDING))
