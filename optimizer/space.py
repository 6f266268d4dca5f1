"""The space of layouts for a model on a site: which degrees exist, and which combinations make sense.

Three levels, each expanded only where the level above survives: *shards* (what decides one layer), *pipes* (how the
layers are cut) and *replicas* (how many copies). Every exclusion is a named rule (:mod:`optimizer.space_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.device import scale_up_reach
from costmodels.layout import ALL_LAYERS, Pipe, Shard
from costmodels.partition import can_partition, chunk_layers
from optimizer.job import Job
from optimizer.replica_counts import BatchDivisors, ReplicaCounts
from optimizer.site import Site
from optimizer.space_rules import (
    MAX_HYBRID_DOMAINS,
    MAX_MICRO_BATCH,
    MAX_PIPELINE,
    MAX_TENSOR_PARALLEL,
    MIN_CONTEXT_TOKENS,
)
from optimizer.whole_numbers import divisors, powers_of_two

PARTIAL_SHARES = (0.25, 0.5, 0.75)
"""Shares of a stage's layers that partial recomputation tries."""

Way = tuple[int, int, int]
"""ZeRO stage, optimizer offload, and accelerators that share one copy of the sharded state (0: all replicas do)."""


@dataclass(frozen=True)
class Choices:
    """Cuts × recomputation × activation offload: everything that turns a shard into a stage row, one entry each.

    Attributes:
        pipe: the cut.
        selective: 1 if the attention core is recomputed.
        layers: leading layers of a full stage that are fully recomputed.
        activations: 1 if activations are offloaded.
    """

    pipe: Pipe
    selective: Column
    layers: Column
    activations: Column


class Space:
    """The enumerable space of one job on one kind of site: it depends on the framework and server size, not on speed.

    Attributes:
        architecture: model columns.
        shards: degrees that decide one layer, one entry per shard.
        choices: what turns a shard into a stage row.
        zero: ZeRO stages.
        spans: accelerators that may share one copy of the sharded state instead of all.
        offload: (activations, optimizer) flags.
        replicas: how data-parallel degrees are enumerated.
        shard_rows: candidate rows below each shard.
    """

    def __init__(self, architecture: Architecture, job: Job, site: Site, limit: int, batch: BatchDivisors) -> None:
        self.architecture = architecture
        self._zero3_with_pipeline = site.framework.zero3_with_pipeline
        self.zero = site.framework.zero_stages
        self.spans = _spans(site, limit)
        self._hybrid = site.framework.hybrid_zero_stages
        self.offload = _offload(job, site)
        self.replicas = ReplicaCounts(batch, site.server_accelerators, limit)
        self.shards = _shards(architecture, job, site, limit)
        self.choices = self._choices(_pipes(architecture, site, limit), _recompute(job, site))
        self.shard_rows = self._rows_per_shard()

    @property
    def dimensions(self) -> dict[str, list[int]]:
        """The values of each enumerated dimension."""

        def values(column: Column) -> list[int]:
            return sorted({int(v) for v in np.unique(column)})

        return {
            "tp": values(self.shards.tp),
            "cp": values(self.shards.cp),
            "ep": values(self.shards.ep),
            "micro_batch": values(self.shards.micro_batch),
            "pp": values(self.choices.pipe.pp),
            "vpp": values(self.choices.pipe.vpp),
            "zero": list(self.zero),
            "zero_span": [0, *self.spans],
        }

    def replica_choices(self, pp: int, activations: int) -> list[tuple[int, int]]:
        """ZeRO stages and optimizer offload that go with a pipeline depth and an activation offload."""
        zero = [z for z in self.zero if z < 2 or pp == 1 or self._zero3_with_pipeline]
        offload = [optimizer for act, optimizer in self.offload if act == activations]
        return [(z, optimizer) for z in zero for optimizer in offload]

    def ways(self, pp: int, activations: int) -> list[Way]:
        """The replica choices with the groups of accelerators that may share the sharded state."""
        return [
            (zero, optimizer, span)
            for zero, optimizer in self.replica_choices(pp, activations)
            for span in (0, *(self.spans if zero in self._hybrid else ()))
        ]

    def rows_per_stage(self, world: Column, shard: Shard, pipe: Pipe) -> NDArray[np.int64]:
        """Candidate rows below each stage row."""
        rows = np.zeros(world.shape, dtype=np.int64)
        fits = world <= self.replicas.limit
        counts = self.replicas.count(world[fits].astype(np.int64), shard.micro_batch[fits].astype(np.int64))
        deep, offloaded = pipe.pp[fits] > 1, shard.offload_activations[fits] > 0
        ways = np.zeros(counts.shape, dtype=np.int64)
        for is_deep in (False, True):
            for act in (0, 1):
                ways[(deep == is_deep) & (offloaded == bool(act))] = len(self.ways(1 + is_deep, act))
        rows[fits] = counts * ways
        return rows

    def _choices(self, pipes: Pipe, recompute: list[tuple[int, float]]) -> Choices:
        rows = [
            (pipe, selective, share, activations)
            for pipe in range(len(pipes.pp))
            for selective, share in recompute
            for activations in sorted({act for act, _ in self.offload})
        ]
        index = np.array([row[0] for row in rows], dtype=np.int64)
        pipe = pipes.map(lambda column: column[index])
        layers = recompute_layers(self.architecture, pipe, np.array([row[2] for row in rows]))
        selective = np.array([float(row[1]) for row in rows])
        activations = np.array([float(row[3]) for row in rows])
        # Two shares of a short stage that mean the same number of layers are one choice.
        key = np.stack([index.astype(float), selective, layers, activations])
        _, first = np.unique(key, axis=1, return_index=True)
        first.sort()
        return Choices(pipe.map(lambda column: column[first]), selective[first], layers[first], activations[first])

    def _rows_per_shard(self) -> NDArray[np.int64]:
        """Candidate rows below each shard, without expanding them."""
        s, c = self.shards, self.choices
        ways = np.zeros(len(c.pipe.pp), dtype=np.int64)
        for depth, activations in {(min(int(p), 2), int(a)) for p, a in zip(c.pipe.pp, c.activations, strict=True)}:
            here = (np.minimum(c.pipe.pp, 2) == depth) & (c.activations == activations)
            ways[here] = len(self.ways(depth, activations))
        depths, place = np.unique(c.pipe.pp, return_inverse=True)
        world = ((s.tp * s.cp)[:, None] * depths).astype(np.int64)
        micro_batch = np.broadcast_to(s.micro_batch.astype(np.int64)[:, None], world.shape)
        fits = world <= self.replicas.limit
        counts = np.zeros(world.shape, dtype=np.int64)
        counts[fits] = self.replicas.count(world[fits], micro_batch[fits])
        rows: NDArray[np.int64] = counts @ np.bincount(place, weights=ways).astype(np.int64)
        return rows


class Spaces:
    """Spaces of one job, built once for all sites that share framework, server size and limit."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.architecture = Architecture.of(job.model)
        self._batch = BatchDivisors(job.global_batch, job.batch_tolerance, job.max_accelerators)
        self._built: dict[tuple[object, ...], Space] = {}

    def of(self, site: Site, limit: int) -> Space:
        """The space of a site with at most ``limit`` accelerators."""
        host = site.accelerator.host_link_bytes_per_s is not None
        reach = scale_up_reach(site.accelerator, site.server_accelerators)
        key = (site.framework.name, site.server_accelerators, reach, host, limit)
        if key not in self._built:
            self._built[key] = Space(self.architecture, self.job, site, limit, self._batch)
        return self._built[key]


def _recompute(job: Job, site: Site) -> list[tuple[int, float]]:
    """(selective, share of layers) choices that job and framework allow."""
    f = site.framework
    choices: list[tuple[int, float]] = []
    if "none" in job.recompute and "none" in f.recompute:
        choices.append((0, 0.0))
    if "selective" in job.recompute and "selective" in f.recompute and (f.operator_recompute or not f.flash_attention):
        choices.append((1, 0.0))
    if "full" in job.recompute and "full" in f.recompute:
        choices.append((0, 1.0))
    if "partial" in job.recompute and "full" in f.recompute:
        choices.extend((0, share) for share in PARTIAL_SHARES)
    return choices


def _offload(job: Job, site: Site) -> list[tuple[int, int]]:
    """(activations, optimizer) flags that job, framework and host link allow."""
    f = site.framework
    host = site.accelerator.host_link_bytes_per_s is not None
    choices = [(0, 0)] if "none" in job.offload else []
    if host and "optimizer" in job.offload and "optimizer" in f.offload:
        choices.append((0, 1))
    if host and "activations" in job.offload and "activations" in f.offload:
        choices.append((1, 0))
    return choices


def _spans(site: Site, limit: int) -> list[int]:
    """Accelerators of 1, 2, 4 … scale-up domains, fewer than there are, if the framework shares state in groups."""
    domain = scale_up_reach(site.accelerator, site.server_accelerators)
    spans = [domain * count for count in powers_of_two(MAX_HYBRID_DOMAINS)]
    return [span for span in spans if 1 < span < limit] if site.framework.hybrid_zero_stages else []


def _shards(a: Architecture, job: Job, site: Site, limit: int) -> Shard:
    f = site.framework
    heads, kv_heads = int(a.heads), int(a.kv_heads)
    domain = scale_up_reach(site.accelerator, site.server_accelerators)
    tensor = [
        t
        for t in (divisors(heads) if f.tensor_parallel else [1])
        if t <= min(MAX_TENSOR_PARALLEL, limit)
        and int(a.ffn) % t == 0
        and int(a.shared_ffn) % t == 0
        and (kv_heads % t == 0 or t % kv_heads == 0)
        and (domain % t == 0 or t % domain == 0)
    ]
    context = powers_of_two(job.seq / MIN_CONTEXT_TOKENS) if f.context_parallel else [1]
    context = [c for c in context if job.seq % (2 * c) == 0 or c == 1]
    expert = divisors(int(a.experts)) if int(a.experts) and f.expert_parallel else [1]
    micro = powers_of_two(min(MAX_MICRO_BATCH, job.global_batch))
    if job.micro_batches:
        micro = [size for size in micro if size in job.micro_batches]
    if job.tuning is not None and job.tuning.pairs:
        micro = [size for size in micro if size > 1]
    grid = np.array(
        [(t, c, e, b) for t in tensor for c in context for e in expert for b in micro if t * c <= limit and e <= limit],
        dtype=np.float64,
    ).reshape(-1, 4)
    tp, cp, ep, mbs = grid.T
    zero = np.zeros(len(grid))
    return Shard(
        tp=tp,
        sp=np.where((tp > 1) & f.sequence_parallel, 1.0, 0.0),
        cp=cp,
        ep=ep,
        etp=np.ones(len(grid)),
        micro_batch=mbs,
        selective=zero,
        recompute_layers=zero,
        offload_activations=zero,
    )


def _pipes(a: Architecture, site: Site, limit: int) -> Pipe:
    f = site.framework
    layers = int(a.layers)
    stages = range(1, min(layers, MAX_PIPELINE, limit) + 1) if f.pipeline_parallel else range(1, 2)
    cuts: list[tuple[int, int, int]] = []
    for pp in stages:
        cuts.append((pp, 1, 0))
        if pp == 1:
            continue
        if "zero_bubble" in f.schedules:
            cuts.append((pp, 1, 1))
        if "interleaved" in f.schedules:
            cuts.extend((pp, v, 0) for v in range(2, layers // pp + 1))
    grid = np.array(cuts, dtype=np.float64)
    pipe = Pipe(pp=grid[:, 0], vpp=grid[:, 1], zero_bubble=grid[:, 2])
    keep = np.asarray(can_partition(a, pipe, np.asarray(float(f.uneven_pipeline))) > 0)
    return pipe.map(lambda column: column[keep])


def recompute_layers(a: Architecture, pipe: Pipe, share: Column) -> Column:
    """Leading layers of each full stage that a share of the stage means (1 = all layers)."""
    full = chunk_layers(a, pipe) * pipe.vpp
    layers = np.ceil(share * full)
    return np.where(layers >= full, ALL_LAYERS, layers)
