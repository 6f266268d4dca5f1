"""A new price book as a re-ranking: arrays of layouts against arrays of prices."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from catalogs.offer import Tenure
from optimizer.job import Job
from optimizer.market import COMMITMENT_S, Price, Site, Tariff, sites, tariffs
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
        usd_per_price: dollars of cost per dollar of price (accelerator-hours charged; servers and spares when bought).
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
    """All prices of one tenure and availability cap at a site, cheapest first.

    Attributes:
        tariff: how the cheapest is charged.
        usd: prices.
        offers: their keys in the book.
        beaten: whether another ladder of the tenure offers as many servers for no more.
    """

    tariff: Tariff
    usd: NDArray[np.float64]
    offers: list[str]
    beaten: bool

    @property
    def tenure(self) -> Tenure:
        """Way of paying."""
        return self.tariff.price.offer.tenure


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
        prices: dict[tuple[Tenure, int | None], list[Price]] = {}
        for price in sorted(site.prices, key=lambda one: (one.usd, self._keys[one.offer.name])):
            prices.setdefault((price.offer.tenure, price.offer.max_servers), []).append(price)
        ladders = []
        most: dict[Tenure, float] = {}
        for tariff in tariffs(site, self.catalog):  # cheapest first
            tenure, cap = tariff.price.offer.tenure, tariff.max_accelerators
            same = prices[tenure, tariff.price.offer.max_servers]
            ladders.append(
                _Ladder(
                    tariff,
                    np.array([price.usd for price in same]),
                    [self._keys[price.offer.name] for price in same],
                    beaten=cap <= most.get(tenure, 0.0),
                )
            )
            most[tenure] = max(cap, most.get(tenure, 0.0))
        return ladders

    def best(
        self, job: Job, share_left: float, deadline_s: float, lost_s: float = 0.0, without: str = ""
    ) -> Choice | None:
        """The cheapest cluster of all offers that ends in time.

        Args:
            job: the job over all its tokens.
            share_left: share of its tokens still to train.
            deadline_s: seconds left.
            lost_s: seconds that pass (and are paid) before the new cluster trains.
            without: key of an offer that is left out.
        """
        best: Choice | None = None
        for site, layouts, ladder in self._scan(job):
            row = 0
            if ladder.offers[0] == without:
                row = 1
            elif ladder.beaten and not without:
                continue
            if row == len(ladder.offers):
                continue
            choice = _cheapest(ladder, row, layouts, site, share_left, deadline_s, lost_s)
            if choice is not None and (best is None or choice.order < best.order):
                best = choice
        return best

    def at(
        self, job: Job, key: str, accelerators: int, share_left: float, deadline_s: float, lost_s: float = 0.0
    ) -> Choice | None:
        """A given cluster at a given offer, if it is on offer and ends in time; arguments as for :meth:`best`."""
        for site, layouts, ladder in self._scan(job):
            if key in ladder.offers:
                row = ladder.offers.index(key)
                return _cheapest(ladder, row, layouts, site, share_left, deadline_s, lost_s, accelerators)
        return None

    def most(self, job: Job, key: str) -> float:
        """Accelerators that can be had at an offer; infinite where nobody says, or where it is not in the book."""
        for _, _, ladder in self._scan(job):
            if key in ladder.offers:
                return ladder.tariff.max_accelerators
        return math.inf

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
    ladder: _Ladder,
    row: int,
    layouts: Layouts,
    site: Site,
    share_left: float,
    deadline_s: float,
    lost_s: float,
    accelerators: int | None = None,
) -> Choice | None:
    """The cheapest cluster (of a given size) at one price that ends in time and can be had."""
    wall_s = layouts.wall_s * share_left + lost_s
    servers = np.ceil(layouts.accelerators / site.server_accelerators)
    if ladder.tenure == "purchase":
        charged = servers + ladder.tariff.spares(servers)
        fixed = np.asarray(ladder.tariff.components(layouts.accelerators, wall_s)["energy"], dtype=np.float64)
    else:
        term_s = COMMITMENT_S[ladder.tenure]
        charged = servers * site.server_accelerators * np.maximum(wall_s, term_s) / HOUR_S
        fixed = np.zeros_like(charged)
    usd = float(ladder.usd[row])
    possible = (wall_s <= deadline_s) & (layouts.accelerators <= ladder.tariff.max_accelerators)
    if accelerators is not None:
        possible &= layouts.accelerators == accelerators
    cost = np.where(possible, charged * usd + fixed, np.inf)
    # Of equal costs the faster, then the smaller cluster.
    place = int(np.lexsort((layouts.accelerators, wall_s, cost))[0])
    if not np.isfinite(cost[place]):
        return None
    return Choice(
        key=ladder.offers[row],
        accelerator=site.accelerator.name,
        accelerators=int(layouts.accelerators[place]),
        usd=usd,
        wall_s=float(wall_s[place]),
        cost_usd=float(cost[place]),
        usd_per_price=float(charged[place]),
        energy_usd=float(fixed[place]),
        layout=layouts.layout(place),
    )
