"""The layout of a whole space that needs least memory on its fullest rank: what decides whether anything fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.offer import Offer
from costmodels.columns import Column, Columns
from costmodels.layers import layers_of
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.partition import peak_stages
from costmodels.stage_bytes import stage_bytes
from optimizer.certificate import Certificate
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.leaders import Leaders
from optimizer.market import site_of
from optimizer.physics import Physics
from optimizer.site import Price, Site
from optimizer.site_search import SiteSearch
from optimizer.space import Space, Spaces

STAGE_ROWS = 100_000
"""Most stage rows evaluated at once, so that memory stays bounded for any space."""

Bundle = TypeVar("Bundle", bound=Columns)

_NOMINAL = Offer.model_construct(name="unpriced", tenure="on_demand", max_servers=None)


@dataclass(frozen=True)
class Least:
    """The layout that needs least memory.

    Attributes:
        layout: its degrees.
        bytes: that its fullest rank must have.
        capacity_bytes: of the device.
    """

    layout: Layout
    bytes: float
    capacity_bytes: float

    @property
    def fits(self) -> bool:
        """Whether anything in the space fits."""
        return self.bytes <= self.capacity_bytes


def ground(job: Job, catalog: Catalog) -> Site:
    """The site of the job's first accelerator, whether or not anybody offers it.

    Raises:
        UnknownNameError, UnsupportedError: as :func:`optimizer.market.site_of`.
    """
    catalog.find("accelerators", job.hardware[0])
    site = site_of(catalog.accelerators[job.hardware[0]], job, catalog)
    return Site(**{**site.__dict__, "prices": (Price(_NOMINAL, 1.0),)})


def fastest(job: Job, site: Site, catalog: Catalog) -> Layout | None:
    """The layout that finishes first on at most the job's accelerators, within its deadline (None: there is none)."""
    leaders = Leaders(1, job.deadline_s)
    search = SiteSearch(job, site, catalog, "time", Spaces(job))
    if search.floor <= leaders.threshold:
        search.run(leaders, Certificate())
    ranked = leaders.ranked()
    return Layout.of(ranked[0].layout) if ranked else None


def describe(job: Job, site: Site, catalog: Catalog, layout: Layout) -> Configuration:
    """All figures of a layout on a site, unpriced."""
    return configure(Physics.of(job, site, catalog), layout, None)


def least_memory(job: Job, site: Site, catalog: Catalog, *, micro_batch: int | None = None) -> Least | None:
    """The layout of the job's whole space that needs least memory (None: the space is empty).

    More replicas never need more memory, so only the largest admissible degree of each row is looked at.

    Args:
        job: the question; ``max_accelerators`` bounds the cluster.
        site: hardware and software.
        catalog: for assumptions.
        micro_batch: put this many sequences into every micro-batch instead of the powers of two of the space; the
            number of micro-batches then stays that of single sequences.
    """
    limit = int(min(job.max_accelerators, site.max_accelerators))
    physics = Physics.of(job, site, catalog)
    space = Spaces(job).of(site, limit)
    shards = space.shards
    if micro_batch is not None:
        shards = _take(shards, np.flatnonzero(shards.micro_batch == 1))
    best: tuple[float, dict[str, int]] | None = None
    per_chunk = max(STAGE_ROWS // max(len(space.choices.layers), 1), 1)
    for start in range(0, len(shards.tp), per_chunk):
        index = np.arange(start, min(start + per_chunk, len(shards.tp)))
        found = _least_of(physics, space, _take(shards, index), micro_batch, limit)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if best is None:
        return None
    return Least(Layout.of(best[1]), best[0], float(physics.device.memory_bytes))


def _take(bundle: Bundle, index: NDArray[np.intp]) -> Bundle:
    """Some rows of a bundle."""
    return bundle.map(lambda column: column[index])


def _least_of(
    physics: Physics, space: Space, shards: Shard, micro_batch: int | None, limit: int
) -> tuple[float, dict[str, int]] | None:
    """The least memory among the stage rows of some shards, with its degrees."""
    c = space.choices
    shape = (len(shards.tp), len(c.layers))

    def down(column: Column) -> Column:
        return np.broadcast_to(column[:, None], shape).reshape(-1)

    def across(column: Column) -> Column:
        return np.broadcast_to(column[None, :], shape).reshape(-1)

    s = Shard(
        **{name: down(getattr(shards, name)) for name in Shard.names()}
        | {
            "selective": across(c.selective),
            "recompute_layers": across(c.layers),
            "offload_activations": across(c.activations),
        }
    )
    pipe = c.pipe.map(across)
    world = s.tp * s.cp * pipe.pp
    rows = np.flatnonzero(world <= limit)
    if not rows.size:
        return None
    s, pipe, world = _take(s, rows), _take(pipe, rows), world[rows]
    single = s.micro_batch
    dp = _largest_degree(space, s, pipe.pp, pipe.vpp, world)
    rows = np.flatnonzero(dp > 0)
    if not rows.size:
        return None
    s, pipe, dp, single = _take(s, rows), _take(pipe, rows), dp[rows], single[rows]
    if micro_batch is not None:
        s = Shard(**{**s.__dict__, "micro_batch": np.full(dp.shape, float(micro_batch))})
    x = physics.setting(s)
    layers = layers_of(x)
    parts = [stage_bytes(x, layers, pipe, stage) for stage in peak_stages(physics.architecture, pipe)]
    best: tuple[float, dict[str, int]] | None = None
    for deep in (False, True):
        for activations in (0, 1):
            here = ((pipe.pp > 1) == deep) & ((s.offload_activations > 0) == bool(activations))
            for zero, offload in space.replica_choices(2 if deep else 1, activations) if here.any() else ():
                replicas = Replicas(
                    dp=dp,
                    zero=np.asarray(float(zero)),
                    zero_group=np.zeros(()),
                    offload_optimizer=np.asarray(float(offload)),
                    micro_batches=space.replicas.micro_batches(dp, single),
                )
                held = [physics.needed(part, s, pipe, replicas) for part in parts]
                fullest = np.where(here, np.max(np.stack(np.broadcast_arrays(*held)), axis=0), np.inf)
                row = int(np.argmin(fullest))
                if best is None or fullest[row] < best[0]:
                    degrees = _degrees(s, pipe, replicas, row, zero, offload)
                    best = float(fullest[row]), degrees
    return best


def _largest_degree(space: Space, s: Shard, pp: Column, vpp: Column, world: Column) -> Column:
    """The largest data-parallel degree of each row that its micro-batches and experts admit (0: none)."""
    keys, place = np.unique(
        np.stack([world, s.micro_batch, np.where(vpp > 1, pp, 1.0), s.ep, s.tp * s.cp]), axis=1, return_inverse=True
    )
    largest = np.zeros(keys.shape[1])
    for column, (ranks, size, turns, ep, near) in enumerate(keys.T):
        degrees = space.replicas.values(int(ranks), int(size))
        if not degrees.size:
            continue
        counts = space.replicas.micro_batches(degrees, size)
        valid = (np.mod(counts, turns) == 0) & (np.mod(near * degrees, ep) == 0)
        if valid.any():
            largest[column] = degrees[valid][-1]
    return largest[place.reshape(-1)]


def _degrees(s: Shard, pipe: Pipe, replicas: Replicas, row: int, zero: int, offload: int) -> dict[str, int]:
    def at(column: Column) -> int:
        return int(column[row]) if np.ndim(column) else int(column)

    names = ("tp", "sp", "cp", "ep", "etp", "micro_batch", "selective", "recompute_layers", "offload_activations")
    return (
        {name: at(getattr(s, name)) for name in names}
        | {name: at(getattr(pipe, name)) for name in ("pp", "vpp", "zero_bubble")}
        | {"dp": at(replicas.dp), "micro_batches": at(replicas.micro_batches)}
        | {"zero": zero, "zero_group": 0, "offload_optimizer": offload}
    )
