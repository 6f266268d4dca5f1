"""A new price book as a re-ranking: arrays of layouts against arrays of prices."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from catalogs.offer import Tenure
from costmodels.bill import HOUR_S
from costmodels.columns import Column
from optimizer.job import Job
from optimizer.market import sites
from optimizer.replan.book import TENURES, Book, with_book
from optimizer.replan.layouts_cache import LayoutCache, Layouts
from optimizer.site import Price, Site
from optimizer.tariff import Tariff, tariffs, way_of_paying


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
        lost_usd: what the seconds lost at the start cost.
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
    lost_usd: float
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
        self._scanned: dict[int, tuple[Job, list[_Stall]]] = {}

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
        prices: dict[tuple[object, ...], list[Price]] = {}
        for price in sorted(site.prices, key=lambda one: (one.usd, self._keys[one.offer.name])):
            prices.setdefault(way_of_paying(price.offer), []).append(price)
        ladders = []
        most: dict[tuple[object, ...], float] = {}
        for tariff in tariffs(site, self.catalog):  # cheapest first
            offer, cap = tariff.price.offer, tariff.max_accelerators
            alike = offer.tenure, offer.min_servers, offer.min_hours
            same = prices[way_of_paying(offer)]
            ladders.append(
                _Ladder(
                    tariff,
                    np.array([price.usd for price in same]),
                    [self._keys[price.offer.name] for price in same],
                    beaten=cap <= most.get(alike, 0.0),
                )
            )
            most[alike] = max(cap, most.get(alike, 0.0))
        return ladders

    def usd(self, key: str) -> float | None:
        """Price of an offer, per accelerator-hour (per server when bought); None where the book does not have it."""
        quote = self.book.by_key.get(key)
        return None if quote is None else quote.per_accelerator * self.catalog.currencies[quote.currency.lower()].usd

    def best(
        self, job: Job, share_left: float, deadline_s: float, lost_s: float = 0.0, without: str = "", place: str = ""
    ) -> Choice | None:
        """The cheapest cluster of all offers that ends in time.

        Args:
            job: the job over all its tokens.
            share_left: share of its tokens still to train.
            deadline_s: seconds left.
            lost_s: seconds that pass (and are paid) before the new cluster trains.
            without: key of an offer that is left out.
            place: with what the keys of offers begin that are considered.
        """
        best: Choice | None = None
        for stall in self._scan(job):
            if best is not None and stall.floor_usd * share_left > best.cost_usd:
                break
            if stall.ladder.beaten and not (without or place):
                continue
            offers = enumerate(stall.ladder.offers)
            row = next((row for row, key in offers if key != without and key.startswith(place)), None)
            if row is None:
                continue
            choice = _cheapest(stall, row, share_left, deadline_s, lost_s)
            if choice is not None and (best is None or choice.order < best.order):
                best = choice
        return best

    def at(
        self, job: Job, key: str, accelerators: int, share_left: float, deadline_s: float, lost_s: float = 0.0
    ) -> Choice | None:
        """A given cluster at a given offer, if it is on offer and ends in time; arguments as for :meth:`best`."""
        for stall in self._scan(job):
            if key in stall.ladder.offers:
                row = stall.ladder.offers.index(key)
                return _cheapest(stall, row, share_left, deadline_s, lost_s, accelerators)
        return None

    def most(self, job: Job, key: str) -> float:
        """Accelerators that can be had at an offer; infinite where nobody says, or where it is not in the book."""
        for stall in self._scan(job):
            if key in stall.ladder.offers:
                return stall.ladder.tariff.max_accelerators
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
        for site, ladders in self._sites_on(accelerator, job):
            layouts = self.cache.get(job, site, self.catalog)
            end = int(np.searchsorted(layouts.accelerators, accelerators, side="right"))
            if end:
                exact = any(key in ladder.offers for ladder in ladders)
                # Every cluster of the list is faster than all smaller ones.
                whole = float(layouts.wall_s[end - 1])
                best[exact] = min(whole, best.get(exact, whole))
        return best.get(True, best.get(False))

    def _scan(self, job: Job) -> list[_Stall]:
        """All ways of renting or buying that a job considers, those that can be cheapest first."""
        known = self._scanned.get(id(job))
        if known is None or known[0] is not job:
            stalls = []
            for site, ladders in self.sites_of(job):
                wanted = [ladder for ladder in ladders if ladder.tenure in job.tenures]
                layouts = self.cache.get(job, site, self.catalog) if wanted else None
                if layouts is not None and len(layouts.accelerators):
                    stalls += [_Stall.of(site, layouts, ladder) for ladder in wanted]
            # The job is kept, so that its identity stays its own.
            known = self._scanned[id(job)] = job, sorted(stalls, key=lambda one: one.floor_usd)
        return known[1]


@dataclass(frozen=True)
class _Stall:
    """A site's layouts for a job, and the prices of one tenure and cap there.

    Attributes:
        site, layouts, ladder: as named.
        floor_usd: what the whole job cannot cost less than at the lowest price.
    """

    site: Site
    layouts: Layouts
    ladder: _Ladder
    floor_usd: float

    @classmethod
    def of(cls, site: Site, layouts: Layouts, ladder: _Ladder) -> _Stall:
        """With what follows from the three."""
        servers = np.ceil(layouts.accelerators / site.server_accelerators)
        hours = servers * site.server_accelerators * layouts.wall_s / HOUR_S
        # What is bought is paid whole, however little is left. The factor leaves room for rounding.
        floor = 0.0 if ladder.tenure == "purchase" else float(hours.min() * ladder.usd[0]) * (1 - 1e-9)
        return cls(site, layouts, ladder, floor)


def _cheapest(
    stall: _Stall, row: int, share_left: float, deadline_s: float, lost_s: float, accelerators: int | None = None
) -> Choice | None:
    """The cheapest cluster (of a given size) at one price that ends in time and can be had."""
    site, layouts, ladder = stall.site, stall.layouts, stall.ladder
    wall_s = layouts.wall_s * share_left + lost_s
    charged, fixed = _charged(ladder.tariff, layouts.accelerators, wall_s)
    usd = float(ladder.usd[row])
    possible = (wall_s <= deadline_s) & (layouts.accelerators <= ladder.tariff.max_accelerators)
    if accelerators is not None:
        possible &= layouts.accelerators == accelerators
    cost = np.where(possible, charged * usd + fixed, np.inf)
    least = cost.min()
    if not np.isfinite(least):
        return None
    # Of equal costs the faster cluster (of equal times there is only the smallest one).
    equal = np.flatnonzero(cost == least)
    place = int(equal[np.argmin(wall_s[equal])])
    lost_usd = 0.0
    if lost_s:
        sooner, beside = _charged(ladder.tariff, layouts.accelerators[place], wall_s[place] - lost_s)
        lost_usd = float(cost[place] - (sooner * usd + beside))
    return Choice(
        key=ladder.offers[row],
        accelerator=site.accelerator.name,
        accelerators=int(layouts.accelerators[place]),
        usd=usd,
        wall_s=float(wall_s[place]),
        cost_usd=float(cost[place]),
        usd_per_price=float(charged[place]),
        energy_usd=float(fixed[place]),
        lost_usd=lost_usd,
        layout=layouts.layout(place),
    )


def _charged(tariff: Tariff, accelerators: Column, wall_s: Column) -> tuple[Column, Column]:
    """Dollars per dollar of price, whatever the price, and dollars that do not follow it."""
    bill = tariff.components(accelerators, wall_s)
    fixed = np.asarray(bill.pop("energy", np.zeros_like(wall_s)))
    return np.asarray(sum(bill.values(), start=np.zeros_like(wall_s))) / tariff.price.usd, fixed
