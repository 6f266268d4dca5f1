"""The exact front of every site: what can be bought or rented, before any question about money.

Under any prices, rates, deadline and failure rate, the whole bill never falls with more accelerators at the same days,
nor with more days on the same accelerators. So its minimum lies on the exact front of accelerators and days, which is
searched once per site; every question about money is then answered by looking through a few hundred points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from catalogs.catalog import Catalog
from costmodels.bill import whole_servers
from costmodels.columns import Column
from costmodels.run import DAY_S
from optimizer.comparison.tenures import PAYING
from optimizer.job import EVEN, Job
from optimizer.leaders import Leader
from optimizer.market import sites
from optimizer.search import search
from optimizer.site import Refusal, Site


@dataclass(frozen=True)
class Front:
    """The exact front of cluster size and days of one site, without failures and deadline.

    Attributes:
        site: hardware, network, framework.
        leaders: the layouts.
        accelerators: of each.
        days: of each, at a goodput of 1.
        offers: names of the offers for the site.
    """

    site: Site
    leaders: tuple[Leader, ...]
    accelerators: Column
    days: Column
    offers: tuple[str, ...]

    @property
    def hardware(self) -> str:
        """The accelerator's name."""
        return self.site.accelerator.name

    @property
    def step_sigma(self) -> Column:
        """Standard deviation of the logarithm of the step time of each."""
        sigma = self.leaders[0].physics.step_sigma(self.accelerators)
        return np.broadcast_to(sigma, self.accelerators.shape)

    @property
    def servers(self) -> Column:
        """Whole servers of each."""
        return whole_servers(self.accelerators, np.asarray(float(self.site.server_accelerators)))


def fronts(job: Job, catalog: Catalog) -> tuple[list[Front], list[Refusal]]:
    """One exact front for every site on which any offer would run the job.

    Raises:
        UnknownNameError, UnsupportedError: the job names something that does not exist.
    """
    tenures = tuple(tenure for paying in PAYING.values() for tenure in paying)
    free = replace(job, deadline_s=math.inf, budget_usd=math.inf, goodput=1.0, confidence=EVEN, tenures=tenures)
    found, refused = sites(free, catalog)
    result = []
    known: dict[tuple[object, ...], tuple[Leader, ...]] = {}
    for site in found:
        names = tuple(price.offer.name for price in site.prices)
        # Without failures, spot servers are as fast as others.
        parts = (site.accelerator, site.framework, site.fabric)
        key = (*(part.name for part in parts), site.server_accelerators, site.scale_out_bytes_per_s, site.multi_server)
        if key not in known:
            known[key] = _front(free, site, catalog)
        leaders = known[key]
        if leaders:
            sizes = np.array([float(one.accelerators) for one in leaders])
            days = np.array([one.wall_s / DAY_S for one in leaders])
            result.append(Front(site, leaders, sizes, days, names))
    return result, refused


def _front(job: Job, site: Site, catalog: Catalog) -> tuple[Leader, ...]:
    """The front of one site; one price will do, without its limits: the front does not depend on it."""
    first = site.prices[0]
    free_of_caps = first.offer.model_copy(update={"max_servers": None, "min_servers": None, "min_hours": None})
    plain = replace(site, prices=(replace(first, offer=free_of_caps),))
    leaders, certificate = search(job, [plain], catalog, front=True)
    if certificate.interrupted:
        raise KeyboardInterrupt
    return tuple(leaders)
