"""Enumerable spaces on which samplers are compared: ten by name, and others drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from catalogs import Catalog
from catalogs.errors import ClusterplanError
from costmodels.architecture import Architecture
from costmodels.parameters import total_params
from optimizer.job import Job
from optimizer.market import sites
from optimizer.request import read_job
from optimizer.search import search
from optimizer.site import Site

DAY_S = 86400.0

NAMED: tuple[tuple[str, float, float, str], ...] = (
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

ROWS = (10**6, 10**9)
"""Fewest and most rows of a drawn space."""


@dataclass(frozen=True)
class Enumerable:
    """A space with its proven optimum."""

    name: str
    job: Job
    sites: list[Site]
    rows: int
    optimum_usd: float


def named(catalog: Catalog) -> Iterator[Enumerable]:
    """The ten spaces."""
    for model, tokens, days, hardware in NAMED:
        found = _space(catalog, model, tokens, days, hardware)
        assert found is not None
        yield found


def drawn(catalog: Catalog, seed: int, count: int) -> Iterator[Enumerable]:
    """Spaces of any model on any accelerator, for 6 to 200 tokens per parameter, that have a plan.

    Nothing else decides whether a space is taken, in particular not how hard it is.
    """
    rng = random.Random(seed)
    models, accelerators = sorted(catalog.models), sorted(catalog.accelerators)
    while count:
        model, hardware = rng.choice(models), rng.choice(accelerators)
        ratio, days = 20 * 10 ** rng.uniform(-0.5, 1.0), rng.choice((30, 45, 60, 90, 120))
        tokens = float(f"{ratio * float(total_params(Architecture.of(catalog.models[model]))):.2g}")
        try:
            found = _space(catalog, model, tokens, days, hardware)
        except ClusterplanError:
            continue
        if found is not None and ROWS[0] <= found.rows <= ROWS[1]:
            count -= 1
            yield found


def _space(catalog: Catalog, model: str, tokens: float, days: float, hardware: str) -> Enumerable | None:
    job = read_job(catalog, model, tokens, deadline_s=days * DAY_S, hardware=[hardware])
    found, _ = sites(job, catalog)
    leaders, certificate = search(job, found, catalog, keep=1)
    if not leaders:
        return None
    name = f"{model} {tokens:.3g} {days:g}d {hardware}"
    return Enumerable(name, job, found, certificate.space, leaders[0].cost_usd)
