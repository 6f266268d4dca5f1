"""Paying for one cluster from several offers of one provider: part reserved, part on demand, pools with caps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catalogs.catalog import Catalog
from costmodels.bill import whole_servers
from costmodels.columns import Column
from optimizer.site import Site
from optimizer.tariff import Tariff, tariffs


class Pools:
    """The offers of a site that may serve one cluster together, as groups, and the cheapest way to fill servers.

    Only offers of one provider are mixed: one synchronous run needs one network. At given servers and time every
    server of an offer costs the same (but for the spares that are bought along), so the cheapest offers are filled
    first.

    Attributes:
        groups: offers that may be mixed; without mixing each offer is its own group.
        server: accelerators in one server.
        limit: accelerators of the largest cluster that any group can deliver.
    """

    def __init__(self, site: Site, catalog: Catalog, *, mixed: bool) -> None:
        self.server = site.server_accelerators
        if mixed:
            by_provider: dict[str, list[Tariff]] = {}
            for price in sorted(site.prices, key=lambda p: p.offer.name):
                (tariff,) = tariffs(replace(site, prices=(price,)), catalog)
                by_provider.setdefault(price.offer.provider, []).append(tariff)
            self.groups = list(by_provider.values())
        else:
            self.groups = [[tariff] for tariff in tariffs(site, catalog)]
        self.limit = max(sum(tariff.max_accelerators for tariff in group) for group in self.groups)

    def cheapest(self, accelerators: Column, wall_s: Column) -> tuple[Column, list[dict[str, int]]]:
        """USD of every cluster from the group that serves it cheapest, and its servers by offer.

        A cluster that no group can deliver is priced as if the offers had no caps.
        """
        filled = [self._fill(group, accelerators, wall_s) for group in self.groups]
        totals = np.stack([total for total, _ in filled])
        best = np.argmin(totals, axis=0)
        cost = totals[best, np.arange(len(best))]
        servers = [filled[group][1][row] for row, group in enumerate(best.tolist())]
        uncapped = np.min([t.total(accelerators, wall_s) for group in self.groups for t in group], axis=0)
        return np.where(np.isfinite(cost), cost, uncapped), servers

    def _fill(self, group: list[Tariff], accelerators: Column, wall_s: Column) -> tuple[Column, list[dict[str, int]]]:
        """Servers from the cheapest offers first, up to their caps; infinitely dear where the caps are too low."""
        servers = whole_servers(accelerators, np.asarray(float(self.server)))
        prices = np.stack([tariff.total(servers * self.server, wall_s) for tariff in group])
        caps = np.array([tariff.max_accelerators / self.server for tariff in group])
        taken = np.zeros(prices.shape)
        left, rows = servers, np.arange(len(servers))
        for chosen in np.argsort(prices, axis=0, kind="stable"):
            taken[chosen, rows] = np.minimum(left, caps[chosen])
            left = left - taken[chosen, rows]
        total: Column = np.zeros(servers.shape)
        for tariff, count in zip(group, taken, strict=True):
            total = total + np.where(count > 0, tariff.total(count * self.server, wall_s), 0.0)
        used = [{t.price.offer.name: int(n) for t, n in zip(group, column, strict=True) if n > 0} for column in taken.T]
        return np.where(left > 0, np.inf, total), used
