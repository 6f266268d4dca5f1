"""What the oracle is given of a site of the product, for one job."""

from __future__ import annotations

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from optimizer.catalog_variant import with_assumption
from optimizer.failure_rates import STATED
from optimizer.job import Job
from optimizer.site import Site
from tests.oracle.inputs import Inputs


def oracle_inputs(site: Site, job: Job) -> Inputs:
    return Inputs(
        site.accelerator,
        site.framework,
        site.profile,
        site.fabric,
        site.scale_out_bytes_per_s,
        site.server_accelerators,
        site.precision,
        job.optimizer,
        site.spot,
    )


def with_failures(catalog: Catalog, hours: float) -> Catalog:
    """The catalog in which every accelerator interrupts a job once in so many hours, for certain."""
    said = Assumption(name=STATED, value=hours, unit="hours", date="2026", sources={"*": "stated"})
    return with_assumption(catalog, said)
