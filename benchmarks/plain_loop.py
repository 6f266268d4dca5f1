"""The second implementation, row by row, over a random sample of a space: what the search is compared with."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import replace

from catalogs.catalog import Catalog
from optimizer.job import Job
from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.memory import fullest_rank
from tests.oracle.parameters import Arch, RankUnits
from tests.oracle.search import OracleSite, offloads, pipelines, recomputations, replicas, shards, sites
from tests.oracle.step import run_seconds, shard_costs, stages_of, step_seconds

SEED = 20251


def sampled_rows(job: Job, site: OracleSite, count: int) -> list[Cut]:
    """A random sample of the space's rows, each shard and pipeline weighted by the rows it stands for."""
    arch, rng = Arch(job.model), random.Random(SEED)
    cuts = list(pipelines(job, arch, site))
    chosen: list[Cut] = []

    def groups() -> Iterator[tuple[Cut, list[tuple[int, int]]]]:
        limit = site.limit(job)
        for shard in shards(job, site):
            for pp, vpp, zb in cuts:
                ranks = shard.tp * shard.cp * pp
                if ranks <= limit:
                    degrees = replicas(job, site, ranks, shard.micro_batch)
                    if degrees:
                        yield replace(shard, pp=pp, vpp=vpp, zero_bubble=zb), degrees

    everything = list(groups())
    weights = [len(degrees) for _, degrees in everything]
    for base, degrees in rng.choices(everything, weights, k=count):
        dp, m = rng.choice(degrees)
        full = math.ceil(arch.layers / (base.pp * base.vpp)) * base.vpp
        selective, layers = rng.choice(recomputations(job, site, full))
        activations, optimizer = rng.choice(offloads(job, site))
        chosen.append(
            replace(
                base,
                dp=dp,
                micro_batches=m,
                zero=rng.choice(site.inputs.framework.zero_stages),
                selective=selective,
                recompute_layers=layers,
                offload_activations=activations,
                offload_optimizer=optimizer,
            )
        )
    return chosen


def plain_loop(job: Job, catalog: Catalog, count: int) -> dict[str, float]:
    """Memory, time and days of sampled rows, one after the other, nothing shared between them."""
    site = next(sites(job, catalog))
    rows = sampled_rows(job, site, count)
    arch, recipe, device = Arch(job.model), Recipe(site.inputs), Device(site.inputs)
    start = time.process_time()
    for cut in rows:
        shard, units = shard_costs(arch, recipe, device, cut, job.seq), RankUnits(arch, cut)
        memory, _ = fullest_rank(arch, recipe, cut, job.seq, shard.saved, units)
        if sum(memory.values()) <= device.capacity:
            stages = stages_of(arch, device, cut, shard, units)
            step = sum(step_seconds(arch, recipe, device, cut, job.seq, stages).values())
            run_seconds(job.tokens, job.seq, cut, step, 0.9)
    seconds = time.process_time() - start
    return {"rows": count, "process_s": seconds, "rows_per_s": count / seconds}
