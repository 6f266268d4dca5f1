"""Levers: what each one alone, and all helpful ones together, do to a run on a given cluster, re-planned each time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnsupportedError
from catalogs.inheritance import resolve_profile
from catalogs.model import Model, Moe
from costmodels.architecture import Architecture
from costmodels.parameters import active_params, total_params
from costmodels.run import DAY_S
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.inverse.largest import smallest_monotone
from optimizer.inverse.least import fastest, ground
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.market import site_of
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION
from optimizer.site import Site
from optimizer.space_rules import MAX_MICRO_BATCH
from optimizer.tariff import cheapest_tariff

Turn = Callable[[Job, Site, Catalog, Layout], tuple[Job, Site] | None]
"""A lever: job and site with it turned, starting from a layout (None: there is nothing to turn)."""


def _precision(job: Job, site: Site, catalog: Catalog, _: Layout) -> tuple[Job, Site] | None:
    if site.precision != "bf16" or "fp8" not in site.accelerator.peak_flops_per_s:
        return None
    changed = replace(job, precision="fp8")
    profile, note = resolve_profile(catalog, site.accelerator, site.framework.name, "fp8")
    return changed, replace(site, precision="fp8", profile=profile, profile_note=note)


def _framework(**update: Any) -> Turn:
    def turn(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
        if all(getattr(site.framework, name) == value for name, value in update.items()):
            return None
        return job, replace(site, framework=site.framework.model_copy(update=update))

    return turn


def _recompute(choice: Any) -> Turn:
    def turn(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
        return (replace(job, recompute=(choice,)), site) if choice in site.framework.recompute else None

    return turn


def _no_overlap(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    none = {"data_overlap": 0.0, "tensor_overlap": 0.0, "expert_overlap": 0.0}
    return job, replace(site, profile=site.profile.model_copy(update=none))


def _network(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    return job, replace(site, scale_out_bytes_per_s=2.0 * site.scale_out_bytes_per_s)


def _servers(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    if not site.multi_server:
        return None
    return replace(job, max_accelerators=2 * job.max_accelerators), site


def _batch(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    return replace(job, global_batch=2 * job.global_batch), site


def _micro_batch(job: Job, site: Site, _: Catalog, base: Layout) -> tuple[Job, Site] | None:
    size = 2 * base.micro_batch
    if size > min(MAX_MICRO_BATCH, job.global_batch):
        return None
    return replace(job, micro_batches=(size,)), site


def _selective(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    """Fused attention keeps no scores, which is all that selective recomputation would save: so without it."""
    if "selective" not in site.framework.recompute:
        return None
    plain = site.framework.model_copy(update={"flash_attention": False})
    return replace(job, recompute=("selective",)), replace(site, framework=plain)


def _full_without_flash(job: Job, site: Site, catalog: Catalog, base: Layout) -> tuple[Job, Site] | None:
    turned = _selective(job, site, catalog, base)
    return None if turned is None else (replace(job, recompute=("full",)), turned[1])


def equal_mixture(model: Model) -> Model | None:
    """The mixture of eight experts, two for each token, that is as good as a dense model by :data:`QUALITY_RULE`.

    Depth, width and attention stay; the experts get the narrowest width in multiples of 128 that is enough. None for a
    model that has experts.
    """
    if model.moe is not None:
        return None

    def mixture(width: int) -> Model:
        moe = Moe(experts=EXPERTS, topk=TOPK, ffn=width * WIDTH_STEP)
        return model.model_copy(update={"name": f"{model.name} as a mixture", "moe": moe})

    def as_good(width: int) -> bool:
        a = Architecture.of(mixture(width))
        return float(total_params(a)) * float(active_params(a)) >= wanted**2

    wanted = float(total_params(Architecture.of(model)))
    width = smallest_monotone(1, max(model.ffn // WIDTH_STEP, 1), as_good)
    return None if width is None else mixture(width)


def _mixture(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    if not site.framework.expert_parallel:
        raise UnsupportedError(f"{site.framework.name} has no expert parallelism")
    model = equal_mixture(job.model)
    return None if model is None else (replace(job, model=model), site)


def _no_flash(job: Job, site: Site, _: Catalog, __: Layout) -> tuple[Job, Site] | None:
    if not site.framework.flash_attention:
        return None
    return job, replace(site, framework=site.framework.model_copy(update={"flash_attention": False}))


LEVERS: dict[str, Turn] = {
    "fp8": _precision,
    "twice the network between servers": _network,
    "twice the servers": _servers,
    "twice the global batch": _batch,
    "twice the micro-batch": _micro_batch,
    "mixture of experts of equal quality": _mixture,
    "no flash attention": _no_flash,
    "full recomputation": _recompute("full"),
    "no flash attention but selective recomputation": _selective,
    "no flash attention but full recomputation": _full_without_flash,
    "no recomputation": _recompute("none"),
    "no sequence parallelism": _framework(sequence_parallel=False),
    "no interleaving": _framework(schedules=("1f1b",)),
    "no overlap of communication": _no_overlap,
    "no pipeline stages": _framework(pipeline_parallel=False),
    "no offload": lambda job, site, _, __: (replace(job, offload=("none",)), site),
}
"""Every lever by name, in the order of the table."""

EXPERTS, TOPK, WIDTH_STEP = 8, 2, 128

QUALITY_RULE = "taken to be as good as a dense model of sqrt(total · active) parameters, a rule of thumb and no law"

NOTES = {
    "mixture of experts of equal quality": QUALITY_RULE,
    "twice the global batch": "a larger batch may need more tokens for the same loss, which is not predicted",
}
"""What a lever takes for granted."""


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
        notes: what levers that were turned take for granted.
    """

    base: Configuration
    single: tuple[Lever, ...]
    combined: Lever | None
    product: float
    refused: dict[str, str]
    notes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "base": self.base.to_json(),
            "single": [one.to_json() for one in self.single],
            "combined": None if self.combined is None else self.combined.to_json(),
            "product": self.product,
            "refused": self.refused,
            "notes": self.notes,
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
            turned = turn(job, site, catalog, base.layout)
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
                turned = LEVERS[name](all_job, all_site, catalog, base.layout)
                all_job, all_site = turned or (all_job, all_site)
        one = _replanned(all_job, all_site, catalog)
        if one is not None:
            combined = Lever(" + ".join(lever.name for lever in helpful), one.days / base.days, one)
    notes = {lever.name: NOTES[lever.name] for lever in found if lever.name in NOTES}
    return Levers(base, tuple(found), combined, math.prod(lever.days for lever in helpful), refused, notes)


def _replanned(job: Job, site: Site, catalog: Catalog) -> Configuration | None:
    """The fastest layout of a job on a site with all figures, paid for as it costs least."""
    layout = fastest(job, site, catalog)
    if layout is None:
        return None
    known = site_of(site.accelerator, replace(job, precision=site.precision), catalog)
    physics = Physics.of(job, site, catalog)
    wall_s = configure(physics, layout, None).days * DAY_S
    return configure(physics, layout, cheapest_tariff(known, catalog, layout.accelerators, wall_s))
