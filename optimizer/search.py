"""Exact search: every layout of every site is evaluated, or excluded by a bound that proves it cannot win.

Sites are searched most promising first, and those whose bound is above the best plan found are never expanded. The
certificate counts every row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layers import layers_of
from costmodels.recipe import Recipe
from optimizer.bounds import Objective
from optimizer.certificate import INTERRUPTED, Certificate
from optimizer.job import Job
from optimizer.leaders import Front, Leader, Leaders
from optimizer.site import Site
from optimizer.site_search import SiteSearch
from optimizer.space import Spaces


def search(
    job: Job,
    found: list[Site],
    catalog: Catalog,
    objective: Objective = "cost",
    *,
    keep: int | None = 6,
    within: float | None = None,
    front: bool = False,
    prune: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Leader], Certificate]:
    """The best layouts of all sites, best first, with the certificate.

    An interrupt (Ctrl-C) ends the search early: the leaders so far are returned, and the certificate counts what was
    not looked at, with the bound that holds for it.

    Args:
        job: the question.
        found: sites from :func:`optimizer.market.sites`.
        catalog: for assumptions.
        objective: cheapest (``cost``), earliest (``time``) or fewest (``accelerators``).
        keep: leaders of different structure to keep (None: no limit).
        within: share by which a leader may be worse than the best (None: any).
        front: return every candidate that none beats in cost, time and accelerators together, instead of the best.
        prune: False evaluates every row that fits (for proof and benchmarks).
        progress: called with rows accounted for and rows in the space, after every site.
    """
    limits: dict[Objective, float] = {
        "cost": job.budget_usd,
        "time": job.deadline_s,
        "accelerators": job.max_accelerators,
    }
    limit = limits[objective]
    leaders = Front() if front else Leaders(keep, limit, within=within)
    queue, certificate = _survey(job, found, catalog, objective, prune=prune)
    done = 0
    try:
        for one in queue:
            if prune and one.floor > leaders.threshold:
                certificate.prune("site bound", one.rows, one.floor)
            else:
                one.run(leaders, certificate)
            done += one.rows
            if progress is not None:
                progress(done, certificate.space)
    except KeyboardInterrupt:
        left = certificate.space - certificate.evaluated - sum(certificate.pruned.values())
        unseen = [s.floor for s in queue if s.floor >= one.floor]
        certificate.prune(INTERRUPTED, left, min(unseen, default=np.inf))
    return leaders.ranked(), certificate


def unseen(job: Job, found: list[Site], catalog: Catalog) -> Certificate:
    """The certificate of sites that an interrupt left unsearched: how many rows, and what bound holds for them."""
    queue, certificate = _survey(job, found, catalog, "cost", prune=True)
    for one in queue:
        certificate.prune(INTERRUPTED, one.rows, one.floor)
    return certificate


def _survey(
    job: Job, found: list[Site], catalog: Catalog, objective: Objective, *, prune: bool
) -> tuple[list[SiteSearch], Certificate]:
    """The searches of all sites, most promising first, and a certificate with what there is to cover."""
    certificate = Certificate()
    spaces = Spaces(job)
    searches = [SiteSearch(job, site, catalog, objective, spaces, prune=prune) for site in found]
    _share_layers(searches)
    for one in searches:
        name = one.site.accelerator.name
        certificate.space += one.rows
        known = certificate.dimensions.get(name, {})
        certificate.dimensions[name] = {
            dimension: sorted({*known.get(dimension, []), *values})
            for dimension, values in one.space.dimensions.items()
        }
        certificate.floors[name] = min(certificate.floors.get(name, np.inf), one.floor)
    return sorted(searches, key=lambda one: one.floor), certificate


def _share_layers(searches: list[SiteSearch]) -> None:
    """Compute the layers of all sites that have the same space in one call: sites down, shards across."""
    by_space: dict[int, list[SiteSearch]] = {}
    for one in searches:
        by_space.setdefault(id(one.space), []).append(one)
    for alike in by_space.values():
        space, physics = alike[0].space, [one.physics for one in alike]

        def down(column: Column) -> Column:
            return column[:, None]

        layers = layers_of(
            replace(
                physics[0].setting(space.shards),
                recipe=Recipe.stack([one.recipe for one in physics]).map(down),
                device=Device.stack([one.device for one in physics]).map(down),
                efficiency=Efficiency.stack([one.efficiency for one in physics]).map(down),
            )
        )
        shape = (len(alike), len(space.shards.tp))
        for row, one in enumerate(alike):
            one.layers = layers.map(partial(_row, shape=shape, row=row))


def _row(column: Column, shape: tuple[int, int], row: int) -> Column:
    """One row of a column that broadcasts to a shape."""
    chosen: Column = np.broadcast_to(column, shape)[row]
    return chosen
