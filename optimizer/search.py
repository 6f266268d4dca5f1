"""Exact search: every layout of every site is evaluated, or excluded by a bound that proves it cannot win.

Whole sites, shards and stages whose bound is above the best plan found are never expanded, and memory is settled before
time is computed. The certificate counts every row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layout import Replicas, Shard
from costmodels.partition import peak_stages
from costmodels.recipe import Recipe
from costmodels.stage import Layers, layers_of, stage_bytes, stage_costs
from optimizer.bounds import Bounds, Objective
from optimizer.certificate import INTERRUPTED, Certificate
from optimizer.job import Job
from optimizer.leaders import Front, Leader, Leaders, Scored
from optimizer.market import Site, tariffs
from optimizer.physics import Physics
from optimizer.space import Spaces, Way
from optimizer.stage_table import Block, Ranks, Stages, blocks

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
        """Layer-level results of the space's shards (:func:`_survey` computes them for many sites at once)."""
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

    def run(self, leaders: Leaders | Front, certificate: Certificate) -> None:
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

    def _worth(self, floors: Column, leaders: Leaders | Front) -> NDArray[np.bool_]:
        """Which limits do not rule out a place among the leaders."""
        if not self.prune_by_bound:
            return np.ones(floors.shape, dtype=bool)
        return (floors <= leaders.threshold) & np.isfinite(floors)

    def _delay(self, accelerators: Column, wall_s: Column, goodput: Column) -> Column:
        """Factor by which a run may come out slower than predicted and still meet the deadline as surely as wanted."""
        return np.exp(self._deviations * self.physics.days_sigma(accelerators, wall_s, goodput))

    def _search_shards(self, chosen: NDArray[np.intp], leaders: Leaders | Front, certificate: Certificate) -> None:
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
                self._evaluate(stages.take(batch), leaders, certificate)

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
        costs = stage_costs(x, layers, pipe)
        parts = [stage_bytes(x, layers, pipe, stage) for stage in peak_stages(p.architecture, pipe)]
        shape = np.broadcast_shapes(shards.tp.shape, pipe.pp.shape)

        def flat(column: Column) -> Column:
            return np.broadcast_to(column, shape).reshape(-1)

        world = flat(shards.tp * shards.cp * pipe.pp)
        depths, depth = np.unique(c.pipe.pp, return_inverse=True)
        s = shards.map(flat)
        pipe, costs = pipe.map(flat), costs.map(flat)
        stages = Stages(
            group=(np.arange(len(chosen))[:, None] * len(depths) + depth[None, :]).reshape(-1),
            shard=s,
            pipe=pipe,
            costs=costs,
            parts=tuple(part.map(flat) for part in parts),
            world=world,
            rows=self.space.rows_per_stage(world, s, pipe),
        )
        return stages.take(np.flatnonzero(stages.rows))

    def _evaluate(self, stages: Stages, leaders: Leaders | Front, certificate: Certificate) -> None:
        """Evaluate stage rows: memory by bisection over the degrees, then time in blocks of degrees across."""
        for deep in (False, True):
            for activations in (0, 1):
                here = ((stages.pipe.pp > 1) == deep) & ((stages.shard.offload_activations > 0) == bool(activations))
                if here.any():
                    ways = self.space.ways(2 if deep else 1, activations)
                    self._evaluate_ways(stages.take(np.flatnonzero(here)), ways, leaders, certificate)

    def _evaluate_ways(self, part: Stages, ways: list[Way], leaders: Leaders | Front, certificate: Certificate) -> None:
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
        leaders: Leaders | Front,
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
        leaders: Leaders | Front,
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
                    search=self,
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


def search(
    job: Job,
    found: list[Site],
    catalog: Catalog,
    objective: Objective = "cost",
    *,
    keep: int | None = 6,
    within: float | None = None,
    front: bool = False,
    prune: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Leader], Certificate]:
    """The best layouts of all sites, best first, with the certificate.

    An interrupt (Ctrl-C) ends the search early: the leaders so far are returned, and the certificate counts what was
    not looked at, with the bound that holds for it.

    Args:
        job: the question.
        found: sites from :func:`optimizer.market.sites`.
        catalog: for assumptions.
        objective: cheapest (``cost``), earliest (``time``) or fewest (``accelerators``).
        keep: leaders of different structure to keep (None: no limit).
        within: share by which a leader may be worse than the best (None: any).
        front: return every candidate that none beats in cost, time and accelerators together, instead of the best.
        prune: False evaluates every row that fits (for proof and benchmarks).
        progress: called with rows accounted for and rows in the space, after every site.
    """
    limits: dict[Objective, float] = {
        "cost": job.budget_usd,
        "time": job.deadline_s,
        "accelerators": job.max_accelerators,
    }
    limit = limits[objective]
    leaders = Front() if front else Leaders(keep, limit, within=within)
    queue, certificate = _survey(job, found, catalog, objective, prune=prune)
    done = 0
    try:
        for one in queue:
            if prune and one.floor > leaders.threshold:
                certificate.prune("site bound", one.rows, one.floor)
            else:
                one.run(leaders, certificate)
            done += one.rows
            if progress is not None:
                progress(done, certificate.space)
    except KeyboardInterrupt:
        left = certificate.space - certificate.evaluated - sum(certificate.pruned.values())
        unseen = [s.floor for s in queue if s.floor >= one.floor]
        certificate.prune(INTERRUPTED, left, min(unseen, default=np.inf))
    return leaders.ranked(), certificate


def unseen(job: Job, found: list[Site], catalog: Catalog) -> Certificate:
    """The certificate of sites that an interrupt left unsearched: how many rows, and what bound holds for them."""
    queue, certificate = _survey(job, found, catalog, "cost", prune=True)
    for one in queue:
        certificate.prune(INTERRUPTED, one.rows, one.floor)
    return certificate


def _survey(
    job: Job, found: list[Site], catalog: Catalog, objective: Objective, *, prune: bool
) -> tuple[list[SiteSearch], Certificate]:
    """The searches of all sites, most promising first, and a certificate with what there is to cover."""
    certificate = Certificate()
    spaces = Spaces(job)
    searches = [SiteSearch(job, site, catalog, objective, spaces, prune=prune) for site in found]
    _share_layers(searches)
    for one in searches:
        name = one.site.accelerator.name
        certificate.space += one.rows
        known = certificate.dimensions.get(name, {})
        certificate.dimensions[name] = {
            dimension: sorted({*known.get(dimension, []), *values})
            for dimension, values in one.space.dimensions.items()
        }
        certificate.floors[name] = min(certificate.floors.get(name, np.inf), one.floor)
    return sorted(searches, key=lambda one: one.floor), certificate


def _share_layers(searches: list[SiteSearch]) -> None:
    """Compute the layers of all sites that have the same space in one call: sites down, shards across."""
    by_space: dict[int, list[SiteSearch]] = {}
    for one in searches:
        by_space.setdefault(id(one.space), []).append(one)
    for alike in by_space.values():
        space, physics = alike[0].space, [one.physics for one in alike]

        def down(column: Column) -> Column:
            return column[:, None]

        layers = layers_of(
            replace(
                physics[0].setting(space.shards),
                recipe=Recipe.stack([one.recipe for one in physics]).map(down),
                device=Device.stack([one.device for one in physics]).map(down),
                efficiency=Efficiency.stack([one.efficiency for one in physics]).map(down),
            )
        )
        shape = (len(alike), len(space.shards.tp))
        for row, one in enumerate(alike):
            one.layers = layers.map(partial(_row, shape=shape, row=row))


def _row(column: Column, shape: tuple[int, int], row: int) -> Column:
    """One row of a column that broadcasts to a shape."""
    chosen: Column = np.broadcast_to(column, shape)[row]
    return chosen
