"""A new price book as a re-ranking: arrays of layouts against arrays of prices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from catalogs.offer import Tenure
from optimizer.job import Job
from optimizer.market import COMMITMENT_S, Site, Tariff, sites, tariffs
from optimizer.replan.book import TENURES, Book, with_book
from optimizer.replan.layouts_cache import LayoutCache, Layouts

HOUR_S = 3600.0


@dataclass(frozen=True)
class Choice:
    """A cluster at an offer, for what is left of a job.

    Attributes:
        key: the offer in the price book.
        accelerator, accelerators: the cluster.
        usd: price, per accelerator-hour (per server when bought).
        wall_s: seconds that the rest of the job takes.
        cost_usd: what the rest costs, term or purchase included.
        usd_per_price: dollars of cost per dollar of price (accelerator-hours charged; servers when bought).
        energy_usd: the part that does not follow the price.
        layout: degrees by name.
    """

    key: str
    accelerator: str
    accelerators: int
    usd: float
    wall_s: float
    cost_usd: float
    usd_per_price: float
    energy_usd: float
    layout: dict[str, int]

    @property
    def order(self) -> tuple[float, float, int, str]:
        """Ranking: cost, time, accelerators, then the offer."""
        return (self.cost_usd, self.wall_s, self.accelerators, self.key)


@dataclass(frozen=True)
class _Ladder:
    """All prices of one tenure at a site."""

    tenure: Tenure
    tariff: Tariff
    usd: NDArray[np.float64]
    offers: list[str]


class Market:
    """A price book arranged by site, for any number of jobs."""

    def __init__(self, book: Book, catalog: Catalog, cache: LayoutCache) -> None:
        self.book, self.cache = book, cache
        self.catalog, self._keys = with_book(catalog, book)
        self._held = {quote.accelerator for quote in book.quotes}
        self._sites: dict[tuple[object, ...], list[tuple[Site, list[_Ladder]]]] = {}

    def sites_of(self, job: Job) -> list[tuple[Site, list[_Ladder]]]:
        """The sites of a job with their prices by tenure."""
        found = []
        for name in job.hardware or tuple(self.catalog.accelerators):
            if name in self._held:
                found += self._sites_on(name, job)
        return found

    def _sites_on(self, name: str, job: Job) -> list[tuple[Site, list[_Ladder]]]:
        key = (name, job.frameworks, job.precision, job.optimizer)
        if key not in self._sites:
            asked = replace(job, hardware=(name,), tenures=TENURES, offers=())
            try:
                found, _ = sites(asked, self.catalog)
            except UnsupportedError:
                found = []
            self._sites[key] = [(site, self._ladders(site)) for site in found]
        return self._sites[key]

    def _ladders(self, site: Site) -> list[_Ladder]:
        ladders = []
        for tariff in tariffs(site, self.catalog):
            tenure = tariff.price.offer.tenure
            prices = [price for price in site.prices if price.offer.tenure == tenure]
            ladders.append(
                _Ladder(
                    tenure,
                    tariff,
                    np.array([price.usd for price in prices]),
                    [self._keys[price.offer.name] for price in prices],
                )
            )
        return ladders

    def best(self, job: Job, share_left: float, deadline_s: float, lost_s: float = 0.0) -> Choice | None:
        """The cheapest cluster of all offers that ends in time; arguments as for :meth:`offers`."""
        best: Choice | None = None
        for site, layouts, ladder in self._scan(job):
            place, charged, fixed = _cheapest(ladder, layouts, site, share_left, deadline_s, lost_s)
            if place is None:
                continue
            # The price does not move the place, so only the cheapest offer of a tenure at a site can win.
            row = int(np.argmin(ladder.usd))
            choice = _choice(ladder, row, layouts, site, place, charged, fixed, share_left, lost_s)
            if best is None or choice.order < best.order:
                best = choice
        return best

    def offers(self, job: Job, share_left: float, deadline_s: float, lost_s: float = 0.0) -> list[list[Choice]]:
        """The cheapest cluster at every offer, offers of one site and tenure together, best first.

        Args:
            job: the job over all its tokens.
            share_left: share of its tokens still to train.
            deadline_s: seconds left.
            lost_s: seconds that pass (and are paid) before the new cluster trains.
        """
        groups = []
        for site, layouts, ladder in self._scan(job):
            place, charged, fixed = _cheapest(ladder, layouts, site, share_left, deadline_s, lost_s)
            if place is not None:
                groups.append(
                    [
                        _choice(ladder, int(row), layouts, site, place, charged, fixed, share_left, lost_s)
                        for row in np.argsort(ladder.usd, kind="stable")
                    ]
                )
        return sorted(groups, key=lambda group: group[0].order)

    def wall_s(self, job: Job, key: str, accelerator: str, accelerators: int) -> float | None:
        """Predicted seconds of the whole job on a given cluster; None where it does not fit.

        Args:
            job: the job.
            key: the offer; where the book has lost it, the fastest site of its accelerator stands in.
            accelerator: of the cluster.
            accelerators: of which no more are used.
        """
        best: dict[bool, float] = {}
        for _, layouts, ladder in self._scan(replace(job, hardware=(accelerator,), tenures=TENURES)):
            end = int(np.searchsorted(layouts.accelerators, accelerators, side="right"))
            if end:
                exact = key in ladder.offers
                whole = float(layouts.wall_s[:end].min())
                best[exact] = min(whole, best.get(exact, whole))
        return best.get(True, best.get(False))

    def _scan(self, job: Job) -> list[tuple[Site, Layouts, _Ladder]]:
        found = []
        for site, ladders in self.sites_of(job):
            wanted = [ladder for ladder in ladders if ladder.tenure in job.tenures]
            if wanted:
                layouts = self.cache.get(job, site, self.catalog)
                found += [(site, layouts, ladder) for ladder in wanted if len(layouts.accelerators)]
        return found


def _cheapest(
    ladder: _Ladder, layouts: Layouts, site: Site, share_left: float, deadline_s: float, lost_s: float
) -> tuple[int | None, NDArray[np.float64], NDArray[np.float64]]:
    """The place of the cheapest cluster that ends in time, with what each is charged per dollar and besides."""
    wall_s = layouts.wall_s * share_left + lost_s
    servers = np.ceil(layouts.accelerators / site.server_accelerators)
    if ladder.tenure == "purchase":
        charged = servers
        fixed = np.asarray(ladder.tariff.components(layouts.accelerators, wall_s)["energy"], dtype=np.float64)
    else:
        term_s = COMMITMENT_S[ladder.tenure]
        charged = servers * site.server_accelerators * np.maximum(wall_s, term_s) / HOUR_S
        fixed = np.zeros_like(charged)
    cost = np.where(wall_s <= deadline_s, charged * float(ladder.usd.min()) + fixed, np.inf)
    # Of equal costs the faster, then the smaller cluster.
    place = int(np.lexsort((layouts.accelerators, wall_s, cost))[0])
    return (place if np.isfinite(cost[place]) else None), charged, fixed


def _choice(
    ladder: _Ladder,
    row: int,
    layouts: Layouts,
    site: Site,
    place: int,
    charged: NDArray[np.float64],
    fixed: NDArray[np.float64],
    share_left: float,
    lost_s: float,
) -> Choice:
    usd = float(ladder.usd[row])
    return Choice(
        key=ladder.offers[row],
        accelerator=site.accelerator.name,
        accelerators=int(layouts.accelerators[place]),
        usd=usd,
        wall_s=float(layouts.wall_s[place] * share_left + lost_s),
        cost_usd=float(charged[place] * usd + fixed[place]),
        usd_per_price=float(charged[place]),
        energy_usd=float(fixed[place]),
        layout=layouts.layout(place),
    )
