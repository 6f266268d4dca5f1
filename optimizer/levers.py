"""Levers: what each one alone, and all helpful ones together, do to a run on a given cluster, re-planned each time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnsupportedError
from catalogs.inheritance import resolve_profile
from optimizer.configuration import Configuration, configure
from optimizer.inverse.least import fastest, ground
from optimizer.job import Job
from optimizer.market import Site, site_of, tariffs
from optimizer.physics import Physics
from optimizer.plan import SCHEMA_VERSION

Turn = Callable[[Job, Site, Catalog], tuple[Job, Site] | None]
"""A lever: job and site with it turned (None: there is nothing to turn)."""


def _precision(job: Job, site: Site, catalog: Catalog) -> tuple[Job, Site] | None:
    if site.precision != "bf16" or "fp8" not in site.accelerator.peak_flops_per_s:
        return None
    changed = replace(job, precision="fp8")
    profile, note = resolve_profile(catalog, site.accelerator, site.framework.name, "fp8")
    return changed, replace(site, precision="fp8", profile=profile, profile_note=note)


def _framework(**update: Any) -> Turn:
    def turn(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
        if all(getattr(site.framework, name) == value for name, value in update.items()):
            return None
        return job, replace(site, framework=site.framework.model_copy(update=update))

    return turn


def _recompute(choice: Any) -> Turn:
    def turn(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
        return (replace(job, recompute=(choice,)), site) if choice in site.framework.recompute else None

    return turn


def _no_overlap(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
    none = {"data_overlap": 0.0, "tensor_overlap": 0.0, "expert_overlap": 0.0}
    return job, replace(site, profile=site.profile.model_copy(update=none))


def _network(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
    return job, replace(site, scale_out_bytes_per_s=2.0 * site.scale_out_bytes_per_s)


def _servers(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
    if not site.multi_server:
        return None
    return replace(job, max_accelerators=2 * job.max_accelerators), site


def _batch(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
    return replace(job, global_batch=2 * job.global_batch), site


def _no_flash(job: Job, site: Site, _: Catalog) -> tuple[Job, Site] | None:
    if not site.framework.flash_attention:
        return None
    return job, replace(site, framework=site.framework.model_copy(update={"flash_attention": False}))


LEVERS: dict[str, Turn] = {
    "fp8": _precision,
    "twice the network between servers": _network,
    "twice the servers": _servers,
    "twice the global batch": _batch,
    "no flash attention": _no_flash,
    "full recomputation": _recompute("full"),
    "no recomputation": _recompute("none"),
    "no sequence parallelism": _framework(sequence_parallel=False),
    "no interleaving": _framework(schedules=("1f1b",)),
    "no overlap of communication": _no_overlap,
    "no pipeline stages": _framework(pipeline_parallel=False),
    "no offload": lambda job, site, _: (replace(job, offload=("none",)), site),
}
"""Every lever by name, in the order of the table. Twice the batch may cost quality, which nobody here predicts."""


@dataclass(frozen=True)
class Lever:
    """What turning one lever, or several, does.

    Attributes:
        name: which.
        days: over those of the base (below 1 is faster).
        configuration: the fastest layout with it.
    """

    name: str
    days: float
    configuration: Configuration

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"name": self.name, "days": self.days, "configuration": self.configuration.to_json()}


@dataclass(frozen=True)
class Levers:
    """All levers of a run.

    Attributes:
        base: the fastest layout as things are.
        single: each lever alone, the most helpful first.
        combined: all that help, turned together (None: fewer than two help).
        product: what the combination would be if the single effects multiplied.
        refused: levers that cannot be turned, and why.
    """

    base: Configuration
    single: tuple[Lever, ...]
    combined: Lever | None
    product: float
    refused: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "base": self.base.to_json(),
            "single": [one.to_json() for one in self.single],
            "combined": None if self.combined is None else self.combined.to_json(),
            "product": self.product,
            "refused": self.refused,
        }


def levers(job: Job, catalog: Catalog) -> Levers:
    """Every lever alone and the helpful ones together, each with the fastest layout on the job's cluster.

    Raises:
        InfeasibleError: the base does not fit.
    """
    job = replace(job, deadline_s=math.inf, budget_usd=math.inf)
    site = ground(job, catalog)
    base = _replanned(job, site, catalog)
    if base is None:
        raise InfeasibleError(
            f"{job.model.name} does not fit on {job.max_accelerators} {site.accelerator.name}; "
            "`clusterplan size` says how many it takes"
        )
    found, refused = [], {}
    for name, turn in LEVERS.items():
        try:
            turned = turn(job, site, catalog)
            one = None if turned is None else _replanned(*turned, catalog)
        except UnsupportedError as error:
            refused[name] = str(error)
            continue
        if turned is None:
            refused[name] = "nothing to turn here"
        elif one is None:
            refused[name] = "nothing fits with it"
        else:
            found.append(Lever(name, one.days / base.days, one))
    found.sort(key=lambda lever: (lever.days, lever.name))
    helpful = [lever for lever in found if lever.days < 1 - 1e-9]
    combined = None
    if len(helpful) > 1:
        all_job, all_site = job, site
        for name in LEVERS:
            if any(lever.name == name for lever in helpful):
                turned = LEVERS[name](all_job, all_site, catalog)
                all_job, all_site = turned or (all_job, all_site)
        one = _replanned(all_job, all_site, catalog)
        if one is not None:
            combined = Lever(" + ".join(lever.name for lever in helpful), one.days / base.days, one)
    return Levers(base, tuple(found), combined, math.prod(lever.days for lever in helpful), refused)


def _replanned(job: Job, site: Site, catalog: Catalog) -> Configuration | None:
    """The fastest layout of a job on a site with all figures, paid for by the cheapest offer there is."""
    layout = fastest(job, site, catalog)
    if layout is None:
        return None
    known = site_of(site.accelerator, replace(job, precision=site.precision), catalog)
    priced = sorted(tariffs(known, catalog), key=lambda t: (t.price.bought, t.price.usd, t.price.offer.name))
    return configure(Physics.of(job, site, catalog), layout, priced[0] if priced else None)
