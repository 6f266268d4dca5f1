"""The space of layouts for a model on a site: which degrees exist, and which combinations make sense.

Three levels, each expanded only where the level above survives: *shards* (what decides one layer), *pipes* (how the
layers are cut) and *replicas* (how many copies). Every exclusion is a named rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.device import scale_up_reach
from costmodels.layout import ALL_LAYERS, Pipe, Shard
from costmodels.partition import can_partition, chunk_layers
from optimizer.job import Job
from optimizer.market import Site

MAX_TENSOR_PARALLEL = 64
MAX_PIPELINE = 128
MAX_MICRO_BATCH = 64
MIN_CONTEXT_TOKENS = 4096
PARTIAL_SHARES = (0.25, 0.5, 0.75)
"""Shares of a stage's layers that partial recomputation tries."""

MAX_HYBRID_DOMAINS = 32
"""Most scale-up domains that share one copy of the sharded state."""

Way = tuple[int, int, int]
"""ZeRO stage, optimizer offload, and accelerators that share one copy of the sharded state (0: all replicas do)."""

RULES: dict[str, str] = {
    "tensor-divides-heads": f"tp divides the attention heads and the MLP width and is at most {MAX_TENSOR_PARALLEL}",
    "tensor-matches-kv-heads": "tp divides the key/value heads or is a multiple of them",
    "tensor-aligned": "tp divides the scale-up domain or is a multiple of it, so that no group straddles two domains",
    "context-slices": f"cp is a power of two that leaves at least {MIN_CONTEXT_TOKENS} tokens per rank",
    "expert-divides": "ep divides the experts; experts are not split further (etp = 1)",
    "micro-batch-power": f"micro-batches are powers of two up to {MAX_MICRO_BATCH}",
    "pairs-stay-together": "both answers of a pair are in one micro-batch, so that micro-batches are even",
    "stages-hold-layers": f"at most {MAX_PIPELINE} stages, none empty; only the first and last chunk may be short",
    "whole-servers": "clusters use whole servers, or part of a single one",
    "batch-divides": "the global batch divides over replicas and micro-batches within the stated tolerance",
    "interleaved-multiple": "interleaved schedules need micro-batches in multiples of the stages",
    "experts-within-ranks": "ep divides the ranks of a stage (tp·cp·dp)",
    "zero-with-pipeline": "ZeRO 2 and 3 with pipeline stages only where the framework supports it",
    "hybrid-groups": "state is shared by all data-parallel ranks or, where the framework can, by fewer of them that "
    f"divide them and span 1, 2, 4 … {MAX_HYBRID_DOMAINS} scale-up domains",
    "selective-needs-scores": "selective recomputation only where scores are kept (no flash attention), or by operator",
    "framework-lacks": "degrees, schedules, recomputation or offload that the framework does not have",
    "host-link": "offload needs a known host link",
    "replica-goes-on": "recovery by replica needs a second data-parallel replica that holds the state of the first: no "
    "ZeRO, or within groups (--zero-group), and experts on fewer than all ranks",
}
"""Why combinations are not in the space, by rule name."""


def divisors(number: int) -> list[int]:
    """All divisors in ascending order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def powers_of_two(limit: float) -> list[int]:
    """Powers of two up to ``limit``, at least 1.

    >>> powers_of_two(10)
    [1, 2, 4, 8]
    """
    return [2**i for i in range(max(int(math.log2(max(limit, 1.0))), 0) + 1)]


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

    def __init__(self, architecture: Architecture, job: Job, site: Site, limit: int) -> None:
        self.architecture = architecture
        self._zero3_with_pipeline = site.framework.zero3_with_pipeline
        self.zero = site.framework.zero_stages
        self.spans = _spans(site, limit)
        self._hybrid = site.framework.hybrid_zero_stages
        self.offload = _offload(job, site)
        self.replicas = ReplicaCounts(job.global_batch, job.batch_tolerance, site.server_accelerators, limit)
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
        self._built: dict[tuple[object, ...], Space] = {}

    def of(self, site: Site, limit: int) -> Space:
        """The space of a site with at most ``limit`` accelerators."""
        host = site.accelerator.host_link_bytes_per_s is not None
        reach = scale_up_reach(site.accelerator, site.server_accelerators)
        key = (site.framework.name, site.server_accelerators, reach, host, limit)
        if key not in self._built:
            self._built[key] = Space(self.architecture, self.job, site, limit)
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


class ReplicaCounts:
    """Data-parallel degrees for a number of ranks per replica and a micro-batch: how many, and which.

    A degree is in the space if the cluster has whole servers (or is part of one) within the limit, and the global
    batch divides over the replicas and micro-batches within the tolerance.
    """

    def __init__(self, global_batch: int, tolerance: float, server: int, limit: int) -> None:
        self.global_batch, self.tolerance, self.server, self.limit = global_batch, tolerance, server, limit
        self._sequences = math.floor(global_batch * (1 + tolerance))
        # No more replicas than sequences, however many accelerators there may be.
        self._most = min(limit, self._sequences)
        self._divides: dict[int, NDArray[np.bool_]] = {}
        shared = divisors(server)
        self._step_index = np.zeros(server + 1, dtype=np.int64)
        self._step_index[shared] = np.arange(len(shared))
        index = np.arange(self._most + 1)
        self._cumulative = np.array(
            [
                [np.cumsum(self._batch_divides(b) & (index % (server // common) == 0)) for common in shared]
                for b in powers_of_two(min(MAX_MICRO_BATCH, global_batch))
            ]
        )
        self._values: dict[int, NDArray[np.float64]] = {}

    def most(self, micro_batch: Column) -> Column:
        """Most replicas that the batch can be spread over, however many accelerators there may be."""
        return np.maximum(np.floor(self._sequences / micro_batch), 1.0)

    def micro_batches(self, dp: Column, micro_batch: Column) -> Column:
        """Micro-batches per replica and step: the global batch, rounded to what divides."""
        return np.maximum(np.round(self.global_batch / (dp * micro_batch)), 1.0)

    def sequences(self, dp: Column, micro_batch: Column) -> Column:
        """Sequences that a step trains: the global batch, within the tolerance."""
        return self.micro_batches(dp, micro_batch) * dp * micro_batch

    def micro_batches_of(self, dp: int, micro_batch: int) -> int:
        """As :meth:`micro_batches`, for one pair of whole numbers."""
        return int(self.micro_batches(np.asarray(float(dp)), np.asarray(float(micro_batch))))

    def values(self, world: int, micro_batch: int) -> NDArray[np.float64]:
        """The degrees for replicas of ``world`` ranks."""
        most = min(self.limit // world, self._most)
        divides = self._batch_divides(micro_batch)[: most + 1]
        step = self.server // math.gcd(world, self.server)
        whole = np.zeros(most + 1, dtype=bool)
        whole[::step] = True
        whole[: (self.server - 1) // world + 1] = True
        whole[0] = False
        return np.flatnonzero(divides & whole).astype(np.float64)

    def listed(self, world: Column, micro_batch: Column) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The degrees of many replicas, ascending, end to end in one array, and where each replica's list begins."""
        pairs, place = np.unique(world * MAX_MICRO_BATCH * 2 + micro_batch, return_inverse=True)
        lists = []
        for pair in pairs.astype(np.int64):
            key = int(pair)
            if key not in self._values:
                self._values[key] = self.values(*divmod(key, MAX_MICRO_BATCH * 2))
            lists.append(self._values[key])
        begins = np.cumsum([0, *(len(one) for one in lists[:-1])])
        return np.concatenate(lists), begins[place]

    def count(self, world: NDArray[np.int64], micro_batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many degrees there are, for arrays of worlds and micro-batches (powers of two)."""
        most = np.minimum(self.limit // world, self._most)
        row = np.round(np.log2(micro_batch)).astype(np.int64)
        step = self._step_index[np.gcd(world, self.server)]
        every = self._step_index[self.server]
        partial = np.minimum((self.server - 1) // world, most)
        # Clusters smaller than one server are never a multiple of it, so nothing is counted twice.
        counts: NDArray[np.int64] = self._cumulative[row, step, most] + self._cumulative[row, every, partial]
        return counts

    def _batch_divides(self, micro_batch: int) -> NDArray[np.bool_]:
        if micro_batch not in self._divides:
            dp = np.arange(self._most + 1, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                used = self.sequences(dp, np.asarray(float(micro_batch)))
            divides = np.abs(used - self.global_batch) <= self.tolerance * self.global_batch
            divides[0] = False
            self._divides[micro_batch] = divides
        return self._divides[micro_batch]
