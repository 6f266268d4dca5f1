"""The search of one site: shards, then stages, then replicas, each expanded only where its bound can still win.

Memory is settled before time is computed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.layers import Layers, layers_of
from costmodels.layout import Replicas, Shard
from costmodels.partition import peak_loads
from costmodels.recomputation import recomputed_share
from costmodels.stage_bytes import loaded_stage_bytes
from costmodels.stage_costs import busy_stage_costs, waiting_stages
from optimizer.bounds import Bounds, Objective
from optimizer.certificate import Certificate
from optimizer.job import Job
from optimizer.leaders import Keeper, Scored
from optimizer.physics import Physics
from optimizer.site import Site
from optimizer.space import Spaces, Way
from optimizer.stage_table import Block, Ranks, Stages, blocks
from optimizer.tariff import tariffs

STAGE_ROWS = 100_000
"""Most stage rows expanded at once, so that memory stays bounded for any space."""

FIRST_BATCH = 256
"""Stage rows evaluated first in a chunk, most promising ones, to lower the bar for the rest."""


class SiteSearch:
    """The search of one site: shards first, then stages, then replicas."""

    def __init__(
        self, job: Job, site: Site, catalog: Catalog, objective: Objective, spaces: Spaces, *, prune: bool = True
    ) -> None:
        self.job, self.site, self.objective, self.prune_by_bound = job, site, objective, prune
        self.physics = Physics.of(job, site, catalog)
        self.tariffs = tariffs(site, catalog)
        limit = max((t.max_accelerators for t in self.tariffs), default=float(job.max_accelerators))
        self.space = spaces.of(site, int(min(limit, job.max_accelerators, site.max_accelerators)))
        # Goodput by cluster size; the first entry, of none, is a filler.
        self._goodput = self.physics.goodput(np.maximum(np.arange(self.space.replicas.limit + 1.0), 1.0))
        self._deviations = NormalDist().inv_cdf(job.confidence)
        # No cluster is surer than one within the measured sizes, failures aside: the deadline that bounds may use.
        latest_s = job.deadline_s / float(np.exp(self._deviations * self.physics.step_sigma(np.zeros(()))))
        self.bounds = Bounds(self.physics, self.tariffs, self.space, self._goodput, latest_s, objective)

    @cached_property
    def layers(self) -> Layers:
        """Layer-level results of the space's shards (:mod:`optimizer.search` computes them for many sites at once)."""
        return layers_of(self.physics.setting(self.space.shards))

    @cached_property
    def shard_floors(self) -> Column:
        """The objective that no layout with a shard can go below."""
        return self.bounds.shard_floors(self.layers)

    @property
    def floor(self) -> float:
        """The objective that no layout of this site can go below."""
        return float(np.min(self.shard_floors, initial=np.inf))

    @property
    def rows(self) -> int:
        """Candidate rows in this site's space."""
        return int(self.space.shard_rows.sum())

    def run(self, leaders: Keeper, certificate: Certificate) -> None:
        """Search the site, improving ``leaders`` and accounting for every row in ``certificate``."""
        floors = self.shard_floors
        order = np.argsort(floors, kind="stable")
        per_chunk = max(STAGE_ROWS // max(len(self.space.choices.layers), 1), 1)
        for start in range(0, len(order), per_chunk):
            chunk = order[start : start + per_chunk]
            keep = self._worth(floors[chunk], leaders)
            dropped = chunk[~keep]
            certificate.prune(
                "shard bound", self.space.shard_rows[dropped].sum(), np.min(floors[dropped], initial=np.inf)
            )
            if keep.any():
                self._search_shards(chunk[keep], leaders, certificate)

    def _worth(self, floors: Column, leaders: Keeper) -> NDArray[np.bool_]:
        """Which limits do not rule out a place among the leaders."""
        if not self.prune_by_bound:
            return np.ones(floors.shape, dtype=bool)
        return (floors <= leaders.threshold) & np.isfinite(floors)

    def _delay(self, accelerators: Column, wall_s: Column, goodput: Column) -> Column:
        """Factor by which a run may come out slower than predicted and still meet the deadline as surely as wanted."""
        return np.exp(self._deviations * self.physics.days_sigma(accelerators, wall_s, goodput))

    def _search_shards(self, chosen: NDArray[np.intp], leaders: Keeper, certificate: Certificate) -> None:
        """Expand shards into stage rows, drop those whose limit is too high, and evaluate the rest best first."""
        stages = self._expand(chosen)
        rows = stages.rows
        floors = self.bounds.stage_floors(stages)
        order = np.argsort(floors, kind="stable")
        size = FIRST_BATCH if self.prune_by_bound else max(len(order), 1)
        while len(order):
            keep = self._worth(floors[order], leaders)
            dropped = order[~keep]
            certificate.prune("stage bound", rows[dropped].sum(), np.min(floors[dropped], initial=np.inf))
            order = order[keep]
            batch, order = order[:size], order[size:]
            size *= 4
            if len(batch):
                self._evaluate(self._complete(stages.take(batch)), leaders, certificate)

    def _expand(self, chosen: NDArray[np.intp]) -> Stages:
        """All stage rows of some shards that have candidates: shards down, choices across, then flattened."""
        p, c = self.physics, self.space.choices
        shards = self.space.shards.map(lambda column: column[chosen][:, None])
        layers = self.layers.map(lambda column: _rows_of(column, chosen))
        shards = Shard(
            tp=shards.tp,
            sp=shards.sp,
            cp=shards.cp,
            ep=shards.ep,
            etp=shards.etp,
            micro_batch=shards.micro_batch,
            selective=c.selective[None, :] + np.zeros_like(shards.tp),
            recompute_layers=c.layers[None, :] + np.zeros_like(shards.tp),
            offload_activations=c.activations[None, :] + np.zeros_like(shards.tp),
        )
        pipe = c.pipe.map(lambda column: column[None, :])
        x = p.setting(shards)
        costs = busy_stage_costs(x, layers, pipe, self._loads)
        shape = np.broadcast_shapes(shards.tp.shape, pipe.pp.shape)

        def flat(column: Column) -> Column:
            return np.broadcast_to(column, shape).reshape(-1)

        world = flat(shards.tp * shards.cp * pipe.pp)
        depths, depth = np.unique(c.pipe.pp, return_inverse=True)
        s, pipe = shards.map(flat), pipe.map(flat)
        stages = Stages(
            group=(np.arange(len(chosen))[:, None] * len(depths) + depth[None, :]).reshape(-1),
            place=np.repeat(chosen, shape[1]),
            choice=np.tile(np.arange(shape[1]), shape[0]),
            shard=s,
            pipe=pipe,
            costs=costs.map(flat),
            world=world,
            rows=self.space.rows_per_stage(world, s, pipe),
        )
        return stages.take(np.flatnonzero(stages.rows))

    @cached_property
    def _loads(self) -> list[tuple[Column, Column, Column]]:
        """The peak stages of every choice, with their layers."""
        pipe = self.space.choices.pipe

        def every(column: Column) -> Column:
            return np.broadcast_to(column, pipe.pp.shape)

        loads = peak_loads(self.physics.architecture, pipe)
        return [(every(stage), every(dense), every(moe)) for stage, dense, moe in loads]

    def _complete(self, stages: Stages) -> Stages:
        """Stage rows with what their bounds do not need: bytes, and seconds in steps of few micro-batches."""
        x, pipe = self.physics.setting(stages.shard), stages.pipe
        layers = self.layers.map(lambda column: column[stages.place] if column.ndim else column)
        at = stages.choice
        loads = [(stage[at], dense[at], moe[at]) for stage, dense, moe in self._loads]
        share = recomputed_share(x, pipe)

        def flat(column: Column) -> Column:
            return np.broadcast_to(column, pipe.pp.shape)

        parts = tuple(loaded_stage_bytes(x, layers, pipe, *load, share).map(flat) for load in loads)
        beside = waiting_stages(x, layers, pipe, loads)
        costs = replace(stages.costs, beside=None if beside is None else beside.map(flat))
        return replace(stages, parts=parts, costs=costs)

    def _evaluate(self, stages: Stages, leaders: Keeper, certificate: Certificate) -> None:
        """Evaluate stage rows: memory by bisection over the degrees, then time in blocks of degrees across."""
        for deep in (False, True):
            for activations in (0, 1):
                here = ((stages.pipe.pp > 1) == deep) & ((stages.shard.offload_activations > 0) == bool(activations))
                if here.any():
                    ways = self.space.ways(2 if deep else 1, activations)
                    self._evaluate_ways(stages.take(np.flatnonzero(here)), ways, leaders, certificate)

    def _evaluate_ways(self, part: Stages, ways: list[Way], leaders: Keeper, certificate: Certificate) -> None:
        counts = part.rows // len(ways)
        degrees, begins = self.space.replicas.listed(part.world, part.shard.micro_batch)
        fits = np.stack([self._first_fit(part, degrees, begins, counts, way) for way in ways])
        least = fits.min(axis=0)
        roomy = np.flatnonzero(least < counts)
        certificate.prune("memory", int(counts.sum() - counts[roomy].sum()) * len(ways))
        certificate.evaluated += int(counts[roomy].sum()) * len(ways)
        if not roomy.size:
            return
        part, counts, begins, fits = part.take(roomy), counts[roomy], begins[roomy], fits[:, roomy]
        # Degrees below the first that fits any row of the group are not looked at.
        start = _least_by_group(part.group, least[roomy])
        for index, real in blocks(part.group, counts - start):
            one = index[:, :1]
            place = start[one] + np.arange(int((counts - start)[one].max()))
            exists = (place < counts[one])[:, None, :] & real[:, :, None]
            table = degrees[np.minimum(begins[one] + place, len(degrees) - 1)][:, None, :]
            block = part.block(index)
            for way, lowest in zip(ways, fits, strict=True):
                valid = exists & (place[:, None, :] >= lowest[index][:, :, None])
                self._evaluate_block(block, table, valid, way, leaders)

    def _evaluate_block(
        self,
        block: Block,
        degrees: Column,
        valid: NDArray[np.bool_],
        way: Way,
        leaders: Keeper,
    ) -> None:
        replicas = self._replicas(block.shard, degrees, way)
        valid = valid & self._valid(block, replicas)
        if not valid.any():
            return
        step_s = self.physics.whole_step(block.costs, block.shard, block.pipe, replicas)
        goodput = self._goodput.take((block.world * degrees).astype(np.int64), mode="clip")
        wall_s = np.asarray(self.physics.wall(step_s, block.shard, replicas, goodput))
        self._offer(block, degrees, way, valid, wall_s, goodput, leaders)

    def _first_fit(
        self,
        part: Stages,
        degrees: Column,
        begins: NDArray[np.int64],
        counts: NDArray[np.int64],
        way: Way,
    ) -> NDArray[np.int64]:
        """Per row, the place of the smallest degree that fits the memory (the number of degrees if none does).

        More replicas never need more memory, so the place is found by bisection, after a look at both ends, which
        settles most rows.
        """
        low, high = np.zeros(len(counts), dtype=np.int64), counts.copy()
        ranks = part.ranks
        look = 0
        while (open_rows := np.flatnonzero(low < high)).size:
            ends = (low[open_rows], high[open_rows] - 1)
            middle = ends[look] if look < len(ends) else (low[open_rows] + high[open_rows]) // 2
            rows = ranks if open_rows.size == len(counts) else ranks.take(open_rows)
            replicas = self._replicas(rows.shard, degrees[begins[open_rows] + middle], way)
            fits = self._fits(rows, replicas)
            high[open_rows] = np.where(fits, middle, high[open_rows])
            low[open_rows] = np.where(fits, low[open_rows], middle + 1)
            look += 1
        return low

    def _replicas(self, shard: Shard, degrees: Column, way: Way) -> Replicas:
        zero, offload, span = way
        return Replicas(
            dp=degrees,
            zero=np.asarray(float(zero)),
            zero_group=span / shard.tp if span else np.zeros(()),
            offload_optimizer=np.asarray(float(offload)),
            micro_batches=self.space.replicas.micro_batches(degrees, shard.micro_batch),
        )

    def _fits(self, ranks: Ranks, replicas: Replicas) -> NDArray[np.bool_]:
        needed = self.physics.needed(ranks.parts, ranks.shard, ranks.pipe, replicas)
        return np.asarray((needed <= self.physics.room_bytes).all(axis=0))

    def _valid(self, block: Block, replicas: Replicas) -> NDArray[np.bool_]:
        valid = np.ones(replicas.dp.shape, dtype=bool)
        if np.any(block.pipe.vpp > 1):
            turns = replicas.micro_batches / block.pipe.pp
            valid = (block.pipe.vpp == 1) | (turns == np.floor(turns))
        if np.any(block.shard.ep > 1):
            groups = block.shard.tp * block.shard.cp * replicas.dp / block.shard.ep
            valid = valid & (groups == np.floor(groups))
        if self.job.recovery == "replica":
            valid = valid & self._held_twice(block, replicas)
        if np.any(replicas.zero_group > 0):
            # All ranks in one group are no groups, and a rank alone shares nothing.
            size, copies = replicas.zero_group, block.shard.cp * replicas.dp / replicas.zero_group
            valid = valid & (size > 1) & (size == np.floor(size)) & (copies > 1) & (copies == np.floor(copies))
        return valid

    def _held_twice(self, block: Block, replicas: Replicas) -> NDArray[np.bool_]:
        """Whether another replica holds the state of one that fails: weights, optimizer and experts."""
        shard = block.shard
        copies = (shard.tp * shard.cp * replicas.dp) // shard.ep
        return np.asarray((replicas.dp > 1) & (copies > 1) & ((replicas.zero == 0) | (replicas.zero_group > 0)))

    def _offer(
        self,
        block: Block,
        degrees: Column,
        way: Way,
        valid: NDArray[np.bool_],
        wall_s: Column,
        goodput: Column,
        leaders: Keeper,
    ) -> None:
        """Show the leaders the candidates of a block, once for every way of paying."""
        accelerators = block.world * degrees
        in_time = wall_s * self._delay(accelerators, wall_s, goodput) if self._deviations else wall_s

        def layout(group: int, row: int, place: int) -> dict[str, int]:
            return block.layout(group, row, int(degrees[group, 0, place]), way, self.space)

        for tariff in self.tariffs:
            cost = tariff.total(accelerators, wall_s)
            figures: dict[Objective, Column] = {"cost": cost, "time": wall_s, "accelerators": accelerators}
            if figures[self.objective].min() > leaders.threshold:
                continue
            allowed = valid & (in_time <= self.job.deadline_s) & (accelerators <= tariff.max_accelerators)
            if self.job.budget_usd < np.inf:
                allowed &= cost <= self.job.budget_usd
            leaders.consider(
                Scored(
                    job=self.job,
                    physics=self.physics,
                    space=self.space,
                    tariff=tariff,
                    layout=layout,
                    sequences=lambda: self.space.replicas.sequences(degrees, block.shard.micro_batch),
                    score=np.where(allowed, figures[self.objective], np.inf),
                    second=wall_s if self.objective == "cost" else cost,
                    cost=cost,
                    wall_s=wall_s,
                    accelerators=accelerators,
                )
            )


def _least_by_group(group: NDArray[np.intp], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least value in each row's group."""
    _, number = np.unique(group, return_inverse=True)
    least = np.full(int(number.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, number, values)
    return least[number]


def _rows_of(column: Column, chosen: NDArray[np.intp]) -> Column:
    """A shard-level column as rows; columns that are the same for all shards stay 0-d."""
    return column if column.ndim == 0 else column[chosen][:, None]
