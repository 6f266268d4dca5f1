"""Checkpoint, data and energy arithmetic of a run on a given cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from costmodels.bill import whole_servers
from costmodels.parameters import total_params
from costmodels.storage import (
    checkpoint_bytes,
    checkpoint_seconds,
    dataset_bytes,
    joules_per_token,
    loading_bytes_per_s,
    tokens_per_day,
)
from optimizer.inverse.least import ground
from optimizer.inverse.schedule import when
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION


def footprint(job: Job, catalog: Catalog, *, server_bytes_per_s: float, store_bytes_per_s: float) -> dict[str, Any]:
    """What a run on at most the job's accelerators writes, reads and draws.

    Args:
        job: the question; ``max_accelerators`` is the cluster.
        catalog: for assumptions.
        server_bytes_per_s: what one server writes to storage.
        store_bytes_per_s: what the storage takes in all.

    Raises:
        InfeasibleError: nothing fits.
    """
    one = when(job, catalog).configuration
    site = ground(job, catalog)
    physics = Physics.of(job, site, catalog)
    a = physics.architecture
    servers = whole_servers(np.asarray(float(one.accelerators)), np.asarray(float(site.server_accelerators)))
    size = checkpoint_bytes(total_params(a), physics.recipe)
    goodput = np.asarray(one.goodput)
    rate = np.asarray(one.tokens_per_s_per_accel * one.accelerators)
    usual = site.server.power_w or (site.accelerator.tdp_w or 0.0) * site.server.accelerators
    server_w = usual * site.server_accelerators / site.server.accelerators
    energy = joules_per_token(servers, np.asarray(server_w), np.asarray(catalog.assumption("pue")), rate, goodput)
    results = {
        "checkpoint_bytes": size,
        "checkpoint_s": checkpoint_seconds(
            size, servers, np.asarray(server_bytes_per_s), np.asarray(store_bytes_per_s)
        ),
        "dataset_bytes": dataset_bytes(physics.tokens, a.vocab),
        "loading_bytes_per_s": loading_bytes_per_s(rate, a.vocab),
        "tokens_per_day": tokens_per_day(rate, goodput),
        "joules_per_token": energy,
        "energy_kwh": energy * physics.tokens / 3.6e6,
    }
    numbers = {name: float(value) for name, value in results.items()}
    return {"schema_version": SCHEMA_VERSION, **numbers, "configuration": one.to_json()}
