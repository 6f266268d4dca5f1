"""Exact search: every layout of every site is evaluated, or excluded by a bound that proves it cannot win.

Bounds are lower limits on accelerator-seconds: the time of the layers alone, without bubble, data-parallel traffic,
update or jitter. A layout's cost is never below its accelerator-seconds times the cheapest price, so whole sites,
shards and stages whose limit is above the best plan found are never expanded. The certificate counts every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.partition import peak_stages
from costmodels.stage import StageBytes, StageCosts, layers_of, stage_bytes, stage_costs, stage_seconds
from optimizer.job import Job
from optimizer.leaders import Front, Leader, Leaders, Scored
from optimizer.market import Site, tariffs
from optimizer.physics import Physics
from optimizer.space import Space, Spaces

Objective = Literal["cost", "time"]

STAGE_ROWS = 100_000
"""Most stage rows expanded at once, so that memory stays bounded for any space."""

BLOCK_ROWS = 20_000
"""About how many candidate rows are evaluated at once: enough to amortise a call, few enough to stay in cache."""

INTERRUPTED = "interrupt"
"""Name under which a certificate counts rows that an interrupt left unseen."""

FIRST_BATCH = 256
"""Stage rows evaluated first in a chunk, most promising ones, to lower the bar for the rest."""


@dataclass
class Certificate:
    """What was covered: candidate rows in the space, evaluated, and pruned by each rule.

    Attributes:
        space: rows in the space.
        evaluated: rows whose memory and time were computed.
        pruned: rows excluded by each bound.
        bound: the lowest limit among what was pruned (in the objective's unit), infinite if nothing was.
        dimensions: values of each dimension, by accelerator.
        floors: by accelerator, the objective that none of its rows can go below.
        proved_rows: rows that a second search without bounds evaluated, with the same answer (None: not asked for).
    """

    space: int = 0
    evaluated: int = 0
    pruned: dict[str, int] = field(default_factory=dict)
    bound: float = float("inf")
    dimensions: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    proved_rows: int | None = None

    def gap(self, best: float) -> float:
        """How far, as a share of ``best``, an unexamined row could still be below it: 0 when every bound is above."""
        return max(best - self.bound, 0.0) / best if best else 0.0

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the search early."""
        return INTERRUPTED in self.pruned

    def merge(self, other: Certificate) -> Certificate:
        """Both certificates as one (of searches over different hardware)."""
        rules = [*self.pruned, *(rule for rule in other.pruned if rule not in self.pruned)]
        return Certificate(
            space=self.space + other.space,
            evaluated=self.evaluated + other.evaluated,
            pruned={rule: self.pruned.get(rule, 0) + other.pruned.get(rule, 0) for rule in rules},
            bound=min(self.bound, other.bound),
            dimensions=self.dimensions | other.dimensions,
            floors=self.floors | other.floors,
        )

    def prune(self, rule: str, rows: int, bound: float = float("inf")) -> None:
        """Count rows that a rule excludes, with the lowest objective any of them could have."""
        if rows:
            self.pruned[rule] = self.pruned.get(rule, 0) + int(rows)
            self.bound = min(self.bound, float(bound))


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
        self.layers = layers_of(self.physics.setting(self.space.shards))
        self.shard_limit_s = self._shard_accelerator_seconds()
        self._deviations = NormalDist().inv_cdf(job.confidence)
        # No cluster is surer than one within the measured sizes: the deadline that bounds may use.
        self._latest_s = job.deadline_s / float(self._delay(np.zeros(())))

    @property
    def floor(self) -> float:
        """The objective that no layout of this site can go below."""
        return float(np.min(self._objective_floor(self.shard_limit_s), initial=np.inf))

    @property
    def rows(self) -> int:
        """Candidate rows in this site's space."""
        return int(self.space.shard_rows.sum())

    def run(self, leaders: Leaders | Front, certificate: Certificate) -> None:
        """Search the site, improving ``leaders`` and accounting for every row in ``certificate``."""
        floors = self._objective_floor(self.shard_limit_s)
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

    def _delay(self, accelerators: Column) -> Column:
        """Factor by which a run may come out slower than predicted and still meet the deadline as surely as wanted."""
        return np.exp(self._deviations * self.physics.days_sigma(accelerators))

    def _shard_accelerator_seconds(self) -> Column:
        """Accelerator-seconds of the whole run below which no layout with a shard can stay."""
        s, p = self.space.shards, self.physics
        whole = Pipe.from_values(pp=1, vpp=1, zero_bubble=0)
        a = p.architecture
        seconds = stage_seconds(p.setting(s), self.layers, whole, a.dense_layers, a.moe_layers, np.ones(()))
        once = seconds.forward + seconds.backward
        return s.tp * s.cp * once / (s.micro_batch * p.seq) * p.tokens / p.goodput

    def _objective_floor(self, accelerator_s: Column) -> Column:
        if self.objective == "time":
            return accelerator_s / min(self.job.max_accelerators, self.site.max_accelerators)
        floors = [t.floor(accelerator_s, self._latest_s) for t in self.tariffs]
        cheapest = np.minimum.reduce(floors) if floors else np.full(accelerator_s.shape, np.inf)
        # What misses the deadline on every accelerator there may be has no cost at all (the factor: rounding).
        return np.where(accelerator_s / self.space.replicas.limit > self._latest_s * (1 + 1e-9), np.inf, cheapest)

    def _search_shards(self, chosen: NDArray[np.intp], leaders: Leaders | Front, certificate: Certificate) -> None:
        """Expand shards into stage rows, drop those whose limit is too high, and evaluate the rest best first."""
        stages = self._expand(chosen)
        rows = stages.rows
        floors = self._objective_floor(stages.accelerator_s)
        order = np.argsort(floors, kind="stable")
        order = order[rows[order] > 0]
        size = FIRST_BATCH
        while len(order):
            keep = self._worth(floors[order], leaders)
            dropped = order[~keep]
            certificate.prune("stage bound", rows[dropped].sum(), np.min(floors[dropped], initial=np.inf))
            order = order[keep]
            batch, order = order[:size], order[size:]
            size *= 4
            if len(batch):
                self._evaluate(stages.take(batch), leaders, certificate)

    def _expand(self, chosen: NDArray[np.intp]) -> _Stages:
        """All stage rows of some shards: shards down, choices across, then flattened."""
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
        s = shards.map(flat)
        accelerator_s = world * flat(costs.slowest_s) / (s.micro_batch * p.seq) * p.tokens / p.goodput
        return _Stages(
            shard=s,
            pipe=pipe.map(flat),
            costs=costs.map(flat),
            parts=tuple(part.map(flat) for part in parts),
            world=world,
            accelerator_s=accelerator_s,
            rows=self.space.rows_per_stage(world, s, pipe.map(flat)),
        )

    def _evaluate(self, stages: _Stages, leaders: Leaders | Front, certificate: Certificate) -> None:
        """Evaluate stage rows: memory by bisection over the degrees, then time in blocks of degrees across."""
        for deep in (False, True):
            for activations in (0, 1):
                here = ((stages.pipe.pp > 1) == deep) & ((stages.shard.offload_activations > 0) == bool(activations))
                if here.any():
                    ways = self.space.replica_choices(2 if deep else 1, activations)
                    self._evaluate_ways(stages.take(np.flatnonzero(here)), ways, leaders, certificate)

    def _evaluate_ways(
        self, part: _Stages, ways: list[tuple[int, int]], leaders: Leaders | Front, certificate: Certificate
    ) -> None:
        counts = part.rows // len(ways)
        # Rows with similar numbers of degrees share a block, so that little of it is padding.
        order = np.argsort(counts, kind="stable")
        part, counts = part.take(order), counts[order]
        degrees, begins = self.space.replicas.listed(part.world, part.shard.micro_batch)
        first = [self._first_fit(part, degrees, begins, counts, zero, offload) for zero, offload in ways]
        roomy = np.minimum.reduce(first) < counts
        certificate.prune("memory", int(counts[~roomy].sum()) * len(ways))
        certificate.evaluated += int(counts[roomy].sum()) * len(ways)
        part, counts, begins = part.take(np.flatnonzero(roomy)), counts[roomy], begins[roomy]
        first = [one[roomy] for one in first]
        for start, end in _blocks(counts):
            rows = slice(start, end)
            place = np.arange(counts[end - 1])[None, :]
            real = place < counts[rows, None]
            table = degrees[np.minimum(begins[rows, None] + place, len(degrees) - 1)]
            column = part.take(rows).column()
            for (zero, offload), lowest in zip(ways, first, strict=True):
                self._evaluate_block(column, table, real & (place >= lowest[rows, None]), zero, offload, leaders)

    def _evaluate_block(
        self,
        column: _Stages,
        degrees: Column,
        valid: NDArray[np.bool_],
        zero: int,
        offload: int,
        leaders: Leaders | Front,
    ) -> None:
        replicas = self._replicas(column.shard.micro_batch, degrees, zero, offload)
        valid = valid & self._valid(column, replicas)
        if not valid.any():
            return
        step_s = sum(self.physics.step(column.costs, column.shard, column.pipe, replicas).values())
        wall_s = np.asarray(self.physics.wall(np.asarray(step_s), column.shard, replicas))
        self._offer(column, degrees, zero, offload, valid, wall_s, column.world * degrees, leaders)

    def _first_fit(
        self,
        part: _Stages,
        degrees: Column,
        begins: NDArray[np.int64],
        counts: NDArray[np.int64],
        zero: int,
        offload: int,
    ) -> NDArray[np.int64]:
        """Per row, the place of the smallest degree that fits the memory (the number of degrees if none does).

        More replicas never need more memory, so the place is found by bisection.
        """
        low, high = np.zeros(len(counts), dtype=np.int64), counts.copy()
        ranks = part.ranks
        while (open_rows := np.flatnonzero(low < high)).size:
            middle = (low[open_rows] + high[open_rows]) // 2
            rows = ranks.take(open_rows)
            replicas = self._replicas(rows.shard.micro_batch, degrees[begins[open_rows] + middle], zero, offload)
            fits = self._fits(rows, replicas)
            high[open_rows] = np.where(fits, middle, high[open_rows])
            low[open_rows] = np.where(fits, low[open_rows], middle + 1)
        return low

    def _replicas(self, micro_batch: Column, degrees: Column, zero: int, offload: int) -> Replicas:
        return Replicas(
            dp=degrees,
            zero=np.asarray(float(zero)),
            zero_group=np.zeros(()),
            offload_optimizer=np.asarray(float(offload)),
            micro_batches=self.space.replicas.micro_batches(degrees, micro_batch),
        )

    def _fits(self, ranks: _Ranks, replicas: Replicas) -> NDArray[np.bool_]:
        fits = np.ones(replicas.dp.shape, dtype=bool)
        for part in ranks.parts:
            total = sum(self.physics.memory(part, ranks.shard, ranks.pipe, replicas).values())
            fits &= np.asarray(total) <= self.physics.device.memory_bytes
        return fits

    def _valid(self, column: _Stages, replicas: Replicas) -> NDArray[np.bool_]:
        valid = np.ones(replicas.dp.shape, dtype=bool)
        if np.any(column.pipe.vpp > 1):
            turns = replicas.micro_batches / column.pipe.pp
            valid &= (column.pipe.vpp == 1) | (turns == np.floor(turns))
        if np.any(column.shard.ep > 1):
            groups = column.shard.tp * column.shard.cp * replicas.dp / column.shard.ep
            valid &= groups == np.floor(groups)
        return valid

    def _offer(
        self,
        column: _Stages,
        degrees: Column,
        zero: int,
        offload: int,
        valid: NDArray[np.bool_],
        wall_s: Column,
        accelerators: Column,
        leaders: Leaders | Front,
    ) -> None:
        """Show the leaders the candidates of a block, once for every way of paying."""
        in_time = wall_s * self._delay(accelerators) if self._deviations else wall_s
        valid = valid & (in_time <= self.job.deadline_s)
        for tariff in self.tariffs:
            cost = np.where(
                valid & (accelerators <= tariff.max_accelerators), tariff.total(accelerators, wall_s), np.inf
            )
            cost = np.where(cost <= self.job.budget_usd, cost, np.inf)
            by_cost = self.objective == "cost"
            leaders.consider(
                Scored(
                    search=self,
                    tariff=tariff,
                    layout=lambda row, place: column.layout(row, int(degrees[row, place]), zero, offload, self.space),
                    sequences=lambda: self.space.replicas.sequences(degrees, column.shard.micro_batch),
                    score=cost if by_cost else np.where(np.isfinite(cost), wall_s, np.inf),
                    second=wall_s if by_cost else cost,
                    cost=cost,
                    wall_s=wall_s,
                    accelerators=accelerators,
                )
            )


@dataclass(frozen=True)
class _Ranks:
    """The part of a table of stage rows that memory depends on."""

    shard: Shard
    pipe: Pipe
    parts: tuple[StageBytes, ...]

    def take(self, index: NDArray[np.intp]) -> _Ranks:
        """Some of the rows."""

        def chosen(column: Column) -> Column:
            return column[index]

        return _Ranks(self.shard.map(chosen), self.pipe.map(chosen), tuple(part.map(chosen) for part in self.parts))


@dataclass(frozen=True)
class _Stages:
    """A flat table of stage rows."""

    shard: Shard
    pipe: Pipe
    costs: StageCosts
    parts: tuple[StageBytes, ...]
    world: Column
    accelerator_s: Column
    rows: NDArray[np.int64]

    def take(self, index: NDArray[np.intp] | slice) -> _Stages:
        """Some of the rows (a slice copies nothing)."""
        return self._map(lambda column: column[index])

    def column(self) -> _Stages:
        """The rows as columns of width one, to broadcast against data-parallel degrees."""
        return self._map(lambda column: column[:, None])

    def _map(self, function: Any) -> _Stages:
        return _Stages(
            shard=self.shard.map(function),
            pipe=self.pipe.map(function),
            costs=self.costs.map(function),
            parts=tuple(part.map(function) for part in self.parts),
            world=function(self.world),
            accelerator_s=function(self.accelerator_s),
            rows=function(self.rows),
        )

    @property
    def ranks(self) -> _Ranks:
        """What the memory of the rows depends on; peak stages that are another one for every row are left out."""
        parts: list[StageBytes] = []
        for part in self.parts:
            if not any(np.array_equal(part.stage, other.stage) for other in parts):
                parts.append(part)
        return _Ranks(self.shard, self.pipe, tuple(parts))

    def layout(self, row: int, dp: int, zero: int, offload: int, space: Space) -> dict[str, int]:
        """The degrees of one candidate, as whole numbers."""
        s, p = self.shard.map(lambda column: column[row : row + 1, 0]), self.pipe.map(lambda c: c[row : row + 1, 0])
        row = 0
        micro_batch = int(s.micro_batch[row])
        micro_batches = space.replicas.micro_batches_of(dp, micro_batch)
        return {
            "tp": int(s.tp[row]),
            "sp": int(s.sp[row]),
            "pp": int(p.pp[row]),
            "vpp": int(p.vpp[row]),
            "zero_bubble": int(p.zero_bubble[row]),
            "dp": dp,
            "cp": int(s.cp[row]),
            "ep": int(s.ep[row]),
            "etp": int(s.etp[row]),
            "zero": zero,
            "zero_group": 0,
            "micro_batch": micro_batch,
            "micro_batches": micro_batches,
            "selective": int(s.selective[row]),
            "recompute_layers": int(s.recompute_layers[row]),
            "offload_activations": int(s.offload_activations[row]),
            "offload_optimizer": offload,
        }


def _rows_of(column: Column, chosen: NDArray[np.intp]) -> Column:
    """A shard-level column as rows; columns that are the same for all shards stay 0-d."""
    return column if column.ndim == 0 else column[chosen][:, None]


def _blocks(degrees: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut rows with ascending numbers of degrees into blocks of about :data:`BLOCK_ROWS` cells, padding included."""
    start = 0
    while start < len(degrees):
        cells = np.arange(1, min(len(degrees) - start, BLOCK_ROWS) + 1) * degrees[start : start + BLOCK_ROWS]
        end = start + max(int(np.searchsorted(cells, BLOCK_ROWS, side="right")), 1)
        yield start, end
        start = end


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
        objective: cheapest (``cost``) or earliest (``time``).
        keep: leaders of different structure to keep (None: no limit).
        within: share by which a leader may be worse than the best (None: any).
        front: return every candidate that none beats in cost, time and accelerators together, instead of the best.
        prune: False evaluates every row that fits (for proof and benchmarks).
        progress: called with rows accounted for and rows in the space, after every site.
    """
    limit = job.budget_usd if objective == "cost" else job.deadline_s
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
