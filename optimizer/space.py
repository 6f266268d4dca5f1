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

RULES: dict[str, str] = {
    "tensor-divides-heads": f"tp divides the attention heads and the MLP width and is at most {MAX_TENSOR_PARALLEL}",
    "tensor-matches-kv-heads": "tp divides the key/value heads or is a multiple of them",
    "context-slices": f"cp is a power of two that leaves at least {MIN_CONTEXT_TOKENS} tokens per rank",
    "expert-divides": "ep divides the experts; experts are not split further (etp = 1)",
    "micro-batch-power": f"micro-batches are powers of two up to {MAX_MICRO_BATCH}",
    "stages-hold-layers": f"at most {MAX_PIPELINE} stages; only the first and last chunk may be short",
    "whole-servers": "clusters use whole servers, or part of a single one",
    "batch-divides": "the global batch divides over replicas and micro-batches within the stated tolerance",
    "interleaved-multiple": "interleaved schedules need micro-batches in multiples of the stages",
    "experts-within-ranks": "ep divides the ranks of a stage (tp·cp·dp)",
    "zero-with-pipeline": "ZeRO 2 and 3 with pipeline stages only where the framework supports it",
    "selective-needs-scores": "selective recomputation only where attention scores are kept (no flash attention)",
    "framework-lacks": "degrees, schedules, recomputation or offload that the framework does not have",
    "host-link": "offload needs a known host link",
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
class Space:
    """The enumerable space of one job on one site.

    Attributes:
        architecture: model columns.
        shards: degrees that decide one layer, one entry per shard.
        pipes: (pp, vpp, zero_bubble) triples, one entry per cut that exists for some framework schedule.
        recompute: (selective, share of layers) choices.
        zero: ZeRO stages.
        offload: (activations, optimizer) flags.
        replicas: how data-parallel degrees are enumerated.
    """

    architecture: Architecture
    shards: Shard
    pipes: Pipe
    recompute: tuple[tuple[int, float], ...]
    zero: tuple[int, ...]
    offload: tuple[tuple[int, int], ...]
    replicas: ReplicaCounts
    zero3_with_pipeline: bool

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
            "pp": values(self.pipes.pp),
            "vpp": values(self.pipes.vpp),
            "zero": list(self.zero),
        }


def build_space(architecture: Architecture, job: Job, site: Site, max_accelerators: int) -> Space:
    """The space of a job on a site with at most ``max_accelerators``."""
    f = site.framework
    limit = int(min(max_accelerators, site.max_accelerators))
    shards = _shards(architecture, job, site, limit)
    pipes = _pipes(architecture, site, limit)
    recompute: list[tuple[int, float]] = []
    if "none" in job.recompute and "none" in f.recompute:
        recompute.append((0, 0.0))
    if "selective" in job.recompute and "selective" in f.recompute and not f.flash_attention:
        recompute.append((1, 0.0))
    if "full" in job.recompute and "full" in f.recompute:
        recompute.append((0, 1.0))
    if "partial" in job.recompute and "full" in f.recompute:
        recompute.extend((0, share) for share in PARTIAL_SHARES)
    host = site.accelerator.host_link_bytes_per_s is not None
    offload = [(0, 0)] if "none" in job.offload else []
    if host and "optimizer" in job.offload and "optimizer" in f.offload:
        offload.append((0, 1))
    if host and "activations" in job.offload and "activations" in f.offload:
        offload.append((1, 0))
    return Space(
        architecture=architecture,
        shards=shards,
        pipes=pipes,
        recompute=tuple(recompute),
        zero=f.zero_stages,
        offload=tuple(offload),
        replicas=ReplicaCounts(job.global_batch, job.batch_tolerance, site.server_accelerators, limit),
        zero3_with_pipeline=f.zero3_with_pipeline,
    )


def _shards(a: Architecture, job: Job, site: Site, limit: int) -> Shard:
    f = site.framework
    heads, kv_heads = int(a.heads), int(a.kv_heads)
    tensor = [
        t
        for t in (divisors(heads) if f.tensor_parallel else [1])
        if t <= min(MAX_TENSOR_PARALLEL, limit)
        and int(a.ffn) % t == 0
        and int(a.shared_ffn) % t == 0
        and (kv_heads % t == 0 or t % kv_heads == 0)
    ]
    context = powers_of_two(job.seq / MIN_CONTEXT_TOKENS) if f.context_parallel else [1]
    context = [c for c in context if job.seq % (2 * c) == 0 or c == 1]
    expert = divisors(int(a.experts)) if int(a.experts) and f.expert_parallel else [1]
    micro = powers_of_two(min(MAX_MICRO_BATCH, job.global_batch))
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
    keep = can_partition(a, pipe, np.asarray(float(f.uneven_pipeline)))
    # Chunks that hold no fewer layers than with one chunk less are the same cut with empty turns.
    keep &= chunk_layers(a, pipe) * pipe.pp * pipe.vpp - a.layers < pipe.pp * pipe.vpp
    return pipe.map(lambda column: column[keep])


def recompute_layers(a: Architecture, pipe: Pipe, share: Column) -> Column:
    """Leading layers of each full stage that a share of the stage means (1 = all layers)."""
    full = chunk_layers(a, pipe) * pipe.vpp
    return np.where(share >= 1.0, ALL_LAYERS, np.ceil(share * full))


class ReplicaCounts:
    """Data-parallel degrees for a number of ranks per replica and a micro-batch: how many, and which.

    A degree is in the space if the cluster has whole servers (or is part of one) within the limit, and the global
    batch divides over the replicas and micro-batches within the tolerance.
    """

    def __init__(self, global_batch: int, tolerance: float, server: int, limit: int) -> None:
        self.global_batch, self.tolerance, self.server, self.limit = global_batch, tolerance, server, limit
        self._divides: dict[int, NDArray[np.bool_]] = {}
        self._counts: dict[tuple[int, int], NDArray[np.int64]] = {}

    def micro_batches(self, dp: Column, micro_batch: Column) -> Column:
        """Micro-batches per replica and step: the global batch, rounded to what divides."""
        return np.maximum(np.round(self.global_batch / (dp * micro_batch)), 1.0)

    def micro_batches_of(self, dp: int, micro_batch: int) -> int:
        """As :meth:`micro_batches`, for one pair of whole numbers."""
        return int(self.micro_batches(np.asarray(float(dp)), np.asarray(float(micro_batch))))

    def values(self, world: int, micro_batch: int) -> NDArray[np.float64]:
        """The degrees for replicas of ``world`` ranks."""
        most = self.limit // world
        divides = self._batch_divides(micro_batch)[: most + 1]
        step = self.server // math.gcd(world, self.server)
        whole = np.zeros(most + 1, dtype=bool)
        whole[::step] = True
        whole[: (self.server - 1) // world + 1] = True
        whole[0] = False
        return np.flatnonzero(divides & whole).astype(np.float64)

    def count(self, world: NDArray[np.int64], micro_batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many degrees there are, for arrays of worlds and micro-batches."""
        counts = np.zeros(world.shape, dtype=np.int64)
        for b in np.unique(micro_batch):
            for g in np.unique(self.server // np.gcd(world, self.server)):
                here = (micro_batch == b) & (self.server // np.gcd(world, self.server) == g)
                if not here.any():
                    continue
                most = self.limit // world[here]
                whole = self._cumulative(int(b), int(g))[most]
                partial = (self.server - 1) // world[here]
                inside = np.minimum(partial, most)
                # Degrees below one server that are not already counted as whole servers (none are: they are smaller).
                every = self._cumulative(int(b), 1)
                counts[here] = whole + every[inside] - self._cumulative(int(b), int(g))[inside]
        return counts

    def _batch_divides(self, micro_batch: int) -> NDArray[np.bool_]:
        if micro_batch not in self._divides:
            dp = np.arange(self.limit + 1, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                used = self.micro_batches(dp, np.asarray(float(micro_batch))) * dp * micro_batch
            divides = np.abs(used - self.global_batch) <= self.tolerance * self.global_batch
            divides[0] = False
            self._divides[micro_batch] = divides
        return self._divides[micro_batch]

    def _cumulative(self, micro_batch: int, step: int) -> NDArray[np.int64]:
        key = (micro_batch, step)
        if key not in self._counts:
            chosen = self._batch_divides(micro_batch).copy()
            chosen[np.arange(len(chosen)) % step != 0] = False
            self._counts[key] = np.cumsum(chosen)
        return self._counts[key]
