"""Jobs of different kinds, small enough to search exactly in a moment."""

from __future__ import annotations

from functools import cache

from catalogs import Catalog
from optimizer.extended.candidate import EXTENSIONS, Extension
from optimizer.extended.problem import Problem
from optimizer.job import Job
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.search import search
from optimizer.site import Site
from optimizer.tuning import FineTuning

CATALOG = Catalog()
DAY_S = 86400.0
ALL: tuple[Extension, ...] = tuple(EXTENSIONS)

JOBS = {
    "dense": Job(CATALOG.models["llama-2-7b"], 2e11, 30 * DAY_S, ("a100-sxm-40g",), max_accelerators=128),
    "deep": Job(CATALOG.models["llama-2-70b"], 1e11, 60 * DAY_S, ("a800-sxm-80g",), max_accelerators=256),
    "moe": Job(CATALOG.models["deepseek-v2-lite"], 3e11, 40 * DAY_S, ("h800-sxm-80g",), max_accelerators=64),
    "no flash": Job(
        CATALOG.models["megatron-gpt-22b"],
        2e10,
        60 * DAY_S,
        ("a100-sxm-80g",),
        seq=2048,
        frameworks=("megatron-deepspeed",),
        max_accelerators=64,
    ),
    "zero bubble": Job(CATALOG.models["llama-2-13b"], 2e11, 40 * DAY_S, ("mi300x",), max_accelerators=64),
    "fully sharded": Job(
        CATALOG.models["llama-3-8b"], 2e11, 60 * DAY_S, ("h100-sxm-80g",), frameworks=("torchtitan-fsdp2",)
    ),
    "adapters": Job(
        CATALOG.models["llama-2-70b"],
        2e9,
        5 * DAY_S,
        ("a100-sxm-80g",),
        global_batch=64,
        max_accelerators=64,
        tuning=FineTuning("lora"),
    ),
    "experts' adapters": Job(
        CATALOG.models["mixtral-8x7b"],
        1e9,
        5 * DAY_S,
        ("a100-sxm-80g",),
        global_batch=64,
        max_accelerators=64,
        tuning=FineTuning("qlora"),
    ),
    "activations": Job(
        CATALOG.models["llama-2-13b"],
        1e11,
        60 * DAY_S,
        ("h100-sxm-80g",),
        frameworks=("torchtitan-fsdp2",),
        max_accelerators=32,
        offload=("none", "activations"),
    ),
}


@cache
def found(name: str) -> tuple[Site, ...]:
    """The sites of a job, the same objects every time."""
    return tuple(sites(JOBS[name], CATALOG)[0])


@cache
def problem(name: str, *extend: Extension, batch_range: float = 0.0) -> Problem:
    """A problem of its own for every job and extension; what a test evaluates in it stays."""
    return Problem(JOBS[name], found(name), CATALOG, frozenset(extend), batch_range=batch_range)


@cache
def exact(name: str) -> tuple[Leader, ...]:
    """Exact solutions of different structure, the best first."""
    return tuple(search(JOBS[name], list(found(name)), CATALOG, keep=8)[0])
