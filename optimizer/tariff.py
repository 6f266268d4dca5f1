"""What each way of paying at a site costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np

from catalogs.catalog import Catalog
from catalogs.offer import Offer, Tenure
from costmodels.bill import HOUR_S, energy_usd, purchase_usd, rent_usd, whole_servers
from costmodels.columns import Column
from costmodels.goodput import spares_needed, waiting_share
from optimizer.failure_rates import failure_rate
from optimizer.site import Price, Site

YEAR_S = 365.0 * 86400.0

COMMITMENT_S: dict[Tenure, float] = {
    "on_demand": 0.0,
    "spot": 0.0,
    "capacity_block": 0.0,
    "reserved_1y": YEAR_S,
    "reserved_3y": 3 * YEAR_S,
}
"""Shortest time a rent is charged for."""


def way_of_paying(offer: Offer) -> tuple[object, ...]:
    """What of an offer its bill depends on besides the price: a dearer offer that shares it can never win."""
    return offer.tenure, offer.max_servers, offer.min_servers, offer.min_hours


def term_s(offer: Offer) -> float:
    """Shortest time that a rent is charged for, in seconds."""
    return max(COMMITMENT_S[offer.tenure], (offer.min_hours or 0.0) * HOUR_S)


@dataclass(frozen=True)
class Tariff:
    """How a site's price turns servers and seconds into USD: one row per price, vectorised over candidates.

    Attributes:
        price: the offer in USD.
        server_accelerators: in the smallest unit that is paid for.
        server_w: rated draw of a unit.
        pue: of the facility.
        usd_per_kwh: of electricity.
        repairs_per_server: how many units are in repair at a time, per unit at work.
        spare_availability: probability with which the spares of a purchase suffice.
    """

    price: Price
    server_accelerators: int
    server_w: float
    pue: float
    usd_per_kwh: float
    repairs_per_server: float
    spare_availability: float

    def spares(self, servers: Column) -> Column:
        """Spare servers bought along with so many that work."""
        rule = self.repairs_per_server, self.spare_availability
        if np.ndim(servers) == 0:
            return _spares(servers, *rule)
        sizes = 1 << int(np.max(servers, initial=0.0)).bit_length()
        return _spares_table(sizes, *rule)[servers.astype(np.int64)]

    def waiting_share(self, servers: Column) -> Column:
        """Share of time in which all spares of so many bought servers are in repair, and a job waits for the next."""
        return waiting_share(servers * self.repairs_per_server, self.spares(servers))

    def components(self, accelerators: Column, wall_s: Column) -> dict[str, Column]:
        """USD by component for clusters of ``accelerators`` over ``wall_s``; power is the renter's only when bought."""
        servers = whole_servers(accelerators, np.asarray(float(self.server_accelerators)))
        if self.price.bought:
            return {
                "servers": purchase_usd(servers, np.asarray(self.price.usd)),
                "spares": purchase_usd(self.spares(servers), np.asarray(self.price.usd)),
                "energy": energy_usd(
                    servers, np.asarray(self.server_w), wall_s, np.asarray(self.pue), np.asarray(self.usd_per_kwh)
                ),
            }
        offer = self.price.offer
        term = np.asarray(term_s(offer))
        servers = np.maximum(servers, float(offer.min_servers or 1))
        per_server = np.asarray(float(self.server_accelerators))
        return {"rent": rent_usd(servers, per_server, np.asarray(self.price.usd), wall_s, term)}

    def total(self, accelerators: Column, wall_s: Column) -> Column:
        """USD in all."""
        return reduce(np.add, self.components(accelerators, wall_s).values())

    @property
    def max_accelerators(self) -> float:
        """Largest cluster the offer can deliver."""
        cap = self.price.offer.max_servers
        return float("inf") if cap is None else float(cap * self.server_accelerators)

    def floor(self, accelerator_s: Column, longest_s: float) -> Column:
        """USD that no cluster doing ``accelerator_s`` accelerator-seconds of work within ``longest_s`` can go below.

        Rent grows with accelerator-seconds. There must be at least accelerator-seconds / longest time of servers, which
        are bought, or rented for the shortest term.
        """
        # The factor keeps rounding from demanding one server more.
        least = accelerator_s / longest_s / self.server_accelerators * (1 - 1e-9)
        servers = np.ceil(np.maximum(least, 1e-9))
        if self.price.bought:
            return purchase_usd(servers, np.asarray(self.price.usd))
        rented = np.maximum(servers, float(self.price.offer.min_servers or 1)) * self.server_accelerators
        rented_s = np.maximum(accelerator_s, rented * term_s(self.price.offer))
        return rented_s * self.price.usd / 3600.0


@lru_cache(maxsize=64)
def _spares_table(sizes: int, repairs_per_server: float, availability: float) -> Column:
    """Spare servers for 0, 1, … servers at work, ``sizes`` entries."""
    return _spares(np.arange(float(sizes)), repairs_per_server, availability)


def _spares(servers: Column, repairs_per_server: float, availability: float) -> Column:
    return spares_needed(servers, np.asarray(repairs_per_server), np.ones(()), np.asarray(availability))


def tariffs(site: Site, catalog: Catalog) -> list[Tariff]:
    """One tariff per way of paying at a site: the cheapest offer of each tenure, cap and least that is charged.

    A dearer offer of the same tenure and the same limits can never win, so it is left out here.
    """
    cheapest: dict[tuple[object, ...], Price] = {}
    for price in sorted(site.prices, key=lambda p: (p.usd, p.offer.name)):
        cheapest.setdefault(way_of_paying(price.offer), price)
    server_w = site.server.power_w or (site.accelerator.tdp_w or 0.0) * site.server_accelerators
    return [
        Tariff(
            price=price,
            server_accelerators=site.server_accelerators,
            server_w=server_w * site.server_accelerators / site.server.accelerators
            if site.server.power_w
            else server_w,
            pue=catalog.assumption("pue"),
            usd_per_kwh=catalog.assumption("electricity-usd-per-kwh"),
            repairs_per_server=site.server_accelerators
            * catalog.assumption("repair-s")
            / (failure_rate(site.accelerator, catalog).hours * HOUR_S),
            spare_availability=catalog.assumption("spare-availability"),
        )
        for price in cheapest.values()
    ]


def cheapest_tariff(site: Site, catalog: Catalog, accelerators: int, wall_s: float) -> Tariff | None:
    """How a site is paid for so many accelerators and seconds at the least cost; None where no offer has so many.

    Equal costs go by name. What counts is the whole bill: a commitment is cheap by the hour and charged for years.
    """
    size, time = np.asarray(float(accelerators)), np.asarray(wall_s)
    enough = [tariff for tariff in tariffs(site, catalog) if accelerators <= tariff.max_accelerators]
    return min(enough, key=lambda one: (float(one.total(size, time)), one.price.offer.name), default=None)
