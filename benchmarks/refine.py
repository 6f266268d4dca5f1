"""Sampling against the exact search: what samplers reach on spaces whose optimum is proven, and what lies beyond them.

python benchmarks/refine.py cold [--samplers tpe,nsga2,nsga3,random] [--seeds N] [--points N]
python benchmarks/refine.py gains [--points N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalogs import Catalog
from optimizer.extended.problem import Problem
from optimizer.extended.refine import refine
from optimizer.extended.sampler import SAMPLERS
from optimizer.extended.study import BATCH, Sampling
from optimizer.job import Job
from optimizer.market import Site, sites
from optimizer.request import read_job
from optimizer.search import search

DAY_S = 86400.0
NEAR = 0.005

SPACES: tuple[tuple[str, float, float, str], ...] = (
    ("llama-3-8b", 1e12, 30, "h100-sxm-80g"),
    ("llama-2-7b", 2e12, 60, "a100-sxm-40g"),
    ("llama-2-13b", 5e11, 60, "a100-sxm-80g"),
    ("llama-2-70b", 2e12, 90, "a800-sxm-80g"),
    ("llama-2-70b", 2e12, 90, "ascend-910b"),
    ("llama-3-70b", 15e12, 90, "h200-sxm"),
    ("mixtral-8x7b", 1e12, 30, "h100-sxm-80g"),
    ("gpt3-175b", 3e11, 30, "a100-sxm-80g"),
    ("llama-3.1-405b", 15.6e12, 80, "h100-sxm-80g"),
    ("deepseek-v3", 14.8e12, 60, "h800-sxm-80g"),
)
"""Model, tokens, days, accelerator."""


BEYOND: tuple[tuple[str, float, float, str], ...] = (
    ("deepseek-v3", 14.8e12, 90, "ascend-910b"),
    ("kimi-k2", 15.5e12, 90, "h100-sxm-80g"),
    ("qwen3-235b-a22b", 5e12, 60, "h100-sxm-80g"),
    ("gemma-3-27b", 6e12, 60, "a100-sxm-40g"),
    ("bloom-176b", 3.6e11, 90, "a100-sxm-80g"),
    ("gpt3-175b", 3e11, 30, "v100-sxm-32g"),
    ("llama-2-70b", 2e12, 90, "a800-sxm-80g"),
    ("llama-3.1-405b", 15.6e12, 80, "h100-sxm-80g"),
)
"""Spaces to go beyond, those without a gain included."""

MIXED, A800 = ("llama-2-70b", 2e12), "a800-sxm-80g"

POOLS = """
- {name: pool-contract, provider: one cloud, accelerator: a800-sxm-80g, accelerators_per_server: 8, tenure: on_demand,
   price: 0.80, currency: USD, unit: accelerator_hour, max_servers: 64, date: '2026-11', sources: {'*': an example}}
- {name: pool-list, provider: one cloud, accelerator: a800-sxm-80g, accelerators_per_server: 8, tenure: on_demand,
   price: 1.40, currency: USD, unit: accelerator_hour, date: '2026-11', sources: {'*': an example}}
"""
"""Sixty-four servers under contract, and as many as wanted at list price."""


@dataclass(frozen=True)
class Reached:
    """How near a sampler came without a start, and after how many evaluations it was near enough."""

    above: float
    near_after: int | None
    points: int
    process_s: float


def cold(
    job: Job, found: list[Site], catalog: Catalog, sampler: str, seed: int, points: int, optimum: float
) -> Reached:
    """Sample the enumerable space until the optimum is near, or so many candidates have been evaluated."""
    problem = Problem(job, found, catalog, frozenset())
    sampling = Sampling(problem, sampler, seed)
    start, above = time.process_time(), float("inf")
    while above > NEAR and problem.evaluated < points and sampling.points < 4 * points:
        sampling.run(BATCH)
        feasible = problem.feasible()
        above = feasible[0][0][0] / optimum - 1 if feasible else above
    near_after = problem.evaluated if above <= NEAR else None
    return Reached(above, near_after, sampling.points, time.process_time() - start)


def compare_cold(samplers: list[str], seeds: int, points: int) -> None:
    catalog = Catalog()
    print(f"{'space':44} {'rows':>11} sampler seed {'above':>7} {'evaluations':>11} {'points':>7} {'s':>6}")
    for model, tokens, days, hardware in SPACES:
        job = read_job(catalog, model, tokens, deadline_s=days * DAY_S, hardware=[hardware])
        found, _ = sites(job, catalog)
        leaders, certificate = search(job, found, catalog, keep=1)
        for sampler in samplers:
            for seed in range(seeds):
                got = cold(job, found, catalog, sampler, seed, points, leaders[0].cost_usd)
                name = f"{model} {tokens:.3g} {days}d {hardware}"
                after = "not near" if got.near_after is None else f"{got.near_after:,}"
                print(
                    f"{name:44} {certificate.space:11,} {sampler:>7} {seed:4} {got.above:7.2%} {after:>11} "
                    f"{got.points:7,} {got.process_s:6.1f}",
                    flush=True,
                )


def show_gain(catalog: Catalog, job: Job, points: int) -> None:
    """The exact optimum, the plan refined from it, and what the difference is made of."""
    got = refine(job, catalog, points=points)
    if got.start is None:
        raise SystemExit(f"{job.model.name}: nothing enumerable to compare with")
    best, start = got.to_json()["best"], got.start
    layout = best["layout"]
    sizes = f"{start.accelerators:,} -> {best['accelerators']:,} accelerators"
    pipes = f"pp{start.layout.pp} vpp{start.layout.vpp} -> pp{layout['pp']} vpp{layout['vpp']}"
    stages = f"layers {layout['layers']}, recomputed {layout['recomputed_layers']}"
    batches = f"batch {start.layout.global_batch:,} -> {layout['global_batch']:,}"
    longer = f"bubble beyond closed form {best['bubble_beyond_closed_form_s']:.3f} s"
    print(
        f"{job.model.name:16} {job.hardware[0]:14} {start.cost_usd:14,.0f} {best['cost_usd']:14,.0f} {got.gain:7.2%}  "
        f"{sizes}, {pipes}, {stages}, {batches}, {best['offers']}, {longer}, {got.search.candidates:,} candidates",
        flush=True,
    )


def gains(points: int) -> None:
    print(f"{'model':16} {'hardware':14} {'exact USD':>14} {'refined USD':>14} {'gain':>7}")
    catalog = Catalog()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "offers").mkdir()
        (Path(folder) / "offers" / "pools.yaml").write_text(POOLS, encoding="utf-8")
        pools, names = Catalog([folder]), ["pool-contract", "pool-list"]
        for days in (90, 120):
            show_gain(pools, read_job(pools, *MIXED, deadline_s=days * DAY_S, hardware=[A800], offers=names), points)
    for model, tokens, days, hardware in BEYOND:
        show_gain(catalog, read_job(catalog, model, tokens, deadline_s=days * DAY_S, hardware=[hardware]), points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cold", "gains"))
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--points", type=int, default=2000)
    options = parser.parse_args()
    if options.what == "gains":
        gains(options.points)
    else:
        compare_cold(options.samplers.split(","), options.seeds, options.points)


if __name__ == "__main__":
    main()
