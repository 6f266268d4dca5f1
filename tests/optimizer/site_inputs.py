"""What the oracle is given of a site of the product, for one job."""

from __future__ import annotations

from optimizer.job import Job
from optimizer.market import Site
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
