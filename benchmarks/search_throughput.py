"""Throughput of the search on one core, beside that of a plain-Python loop over the same rows in the same run.

python benchmarks/search_throughput.py [--json] [--max-accelerators N] [--sample N]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalogs.catalog import Catalog
from optimizer.job import Job
from optimizer.market import sites
from optimizer.search import search
from tests.oracle.inputs import Cut, Device, Recipe
from tests.oracle.memory import fullest_rank
from tests.oracle.parameters import Arch, RankUnits
from tests.oracle.search import OracleSite, pipelines, recomputations, replicas, shards
from tests.oracle.search import offloads as offload_kinds
from tests.oracle.search import sites as oracle_sites
from tests.oracle.step import run_seconds, shard_costs, stages_of, step_seconds

DAY_S = 86400.0
SEED = 20251


def full_enumeration(job: Job, catalog: Catalog) -> dict[str, float]:
    """Every row of one site, none pruned."""
    found, _ = sites(job, catalog)
    start = time.process_time()
    _, certificate = search(job, found[:1], catalog, keep=6, prune=False)
    seconds = time.process_time() - start
    return {
        "rows": certificate.space,
        "evaluated": certificate.evaluated,
        "process_s": seconds,
        "rows_per_s": certificate.space / seconds,
        "evaluated_per_s": certificate.evaluated / seconds,
    }


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
        activations, optimizer = rng.choice(offload_kinds(job, site))
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
    site = next(oracle_sites(job, catalog))
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


def whole_catalog(job: Job, catalog: Catalog) -> dict[str, float]:
    """The pruned query over all accelerators and offers, the catalog read beforehand."""
    start = time.process_time()
    found, _ = sites(job, catalog)
    _, certificate = search(job, found, catalog)
    seconds = time.process_time() - start
    return {
        "sites": len(found),
        "offers": sum(len(site.prices) for site in found),
        "rows": certificate.space,
        "evaluated": certificate.evaluated,
        "pruned": sum(certificate.pruned.values()),
        "process_s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--max-accelerators", type=int, default=16384, help="of the full enumeration")
    parser.add_argument("--sample", type=int, default=2000, help="rows of the plain loop")
    parser.add_argument("--repeat", type=int, default=3, help="times; the quickest counts")
    options = parser.parse_args()
    catalog = Catalog()
    job = Job(catalog.models["llama-2-70b"], 2e12, deadline_s=90 * DAY_S)
    one_site = replace(job, hardware=("a800-sxm-80g",), max_accelerators=options.max_accelerators)
    sites(job, catalog)

    def best(results: list[dict[str, float]]) -> dict[str, float]:
        return min(results, key=lambda one: one["process_s"])

    full = best([full_enumeration(one_site, catalog) for _ in range(options.repeat)])
    loop = best([plain_loop(one_site, catalog, options.sample) for _ in range(options.repeat)])
    query = best([whole_catalog(job, catalog) for _ in range(options.repeat)])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    report: dict[str, Any] = {
        "full_enumeration": full,
        "plain_loop": loop,
        "ratio": full["rows_per_s"] / loop["rows_per_s"],
        "whole_catalog": query,
        "peak_memory_bytes": peak,
    }
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(f"full enumeration, one site   {full['rows']:>13,} rows  {full['process_s']:8.2f} s")
    print(f"  rows/s on one core         {full['rows_per_s']:>13,.0f}")
    print(f"  evaluated rows/s           {full['evaluated_per_s']:>13,.0f}")
    print(f"plain-Python loop            {loop['rows']:>13,} rows  {loop['process_s']:8.2f} s")
    print(f"  rows/s on one core         {loop['rows_per_s']:>13,.0f}")
    print(f"ratio                        {report['ratio']:>13,.0f}")
    print(f"whole catalog, 70B/2T/90 d   {query['rows']:>13,} rows  {query['process_s']:8.2f} s")
    print(f"  sites, offers              {query['sites']:>6,} {query['offers']:>6,}")
    print(f"  evaluated, pruned          {query['evaluated']:>13,} {query['pruned']:>13,}")
    print(f"peak memory                  {peak / 1e9:>13.2f} GB")


if __name__ == "__main__":
    main()
