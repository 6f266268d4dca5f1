"""The best plan of every hardware and way of paying, with the whole bill: what ``compare`` ranks.

Under any prices, rates, deadline and failure rate, the whole bill never falls with more accelerators at the same days,
nor with more days on the same accelerators. So its minimum lies on the exact front of accelerators and days, which is
searched once per site; every question about money is then answered by looking through a few hundred points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError
from catalogs.offer import Offer
from catalogs.offer import Tenure as Paying
from costmodels.bill import HOUR_S, rent_usd, whole_servers
from costmodels.columns import Column
from costmodels.finance import MONTH_H, energy_kwh
from costmodels.goodput import Resilience
from costmodels.interval import combined_sigma, interval_90, probability_below
from costmodels.run import DAY_S
from costmodels.storage import store_bytes, store_rent_usd
from optimizer.configuration import Configuration, Layout, configure
from optimizer.job import Job
from optimizer.leaders import Leader
from optimizer.market import Refusal, Site, sites, term_s
from optimizer.ownership import Ownership, Terms, Values, ownership, stored_bytes, surroundings, values_of
from optimizer.physics import resilience
from optimizer.search import search

Tenure = Literal["rent", "spot", "reserved", "buy"]

PAYING: dict[Tenure, tuple[Paying, ...]] = {
    "rent": ("on_demand", "capacity_block"),
    "spot": ("spot",),
    "reserved": ("reserved_1y", "reserved_3y"),
    "buy": ("purchase",),
}
"""Offers behind each tenure."""

MORE_SPARES = np.arange(9.0)[:, None]
"""Spares beyond the fewest that are tried for a purchase; with so many, no cluster waits one part in 10,000."""

TENURES: tuple[Tenure, ...] = get_args(Tenure)


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
        sigma = self.leaders[0].search.physics.step_sigma(self.accelerators)
        return np.broadcast_to(sigma, self.accelerators.shape)

    @property
    def servers(self) -> Column:
        """Whole servers of each."""
        return whole_servers(self.accelerators, np.asarray(float(self.site.server_accelerators)))


@dataclass(frozen=True)
class Conditions:
    """Everything about money and time that a comparison may vary without searching again.

    Attributes:
        job: deadline, budget, stated goodput (its model, tokens and hardware are those of the fronts).
        catalog: prices, rates, assumptions.
        terms: how purchases are charged.
        slowdown: days over those of the fronts (more tokens, a lower MFU).
    """

    job: Job
    catalog: Catalog
    terms: Terms = field(default_factory=Terms)
    slowdown: float = 1.0


@dataclass(frozen=True)
class Contender:
    """A hardware, a way of paying, the best plan for it, and its whole bill.

    Attributes:
        hardware, tenure: which.
        offer: the catalog's offer.
        front, place: where the layout comes from.
        owned: the bought cluster (None when rented).
        rented: the rented one (None when bought).
        values: what the bill was computed with.
        survival: what interrupts the job, and its checkpoints.
        goodput: expected share of time that makes progress.
        goodput_log_sigma: its spread.
        days: wall-clock days.
        cost: USD by component.
        energy_kwh: of servers and network over the run, at the meter.
        deadline_s: latest end.
        stated: whether the goodput is as the user gave it.
    """

    hardware: str
    tenure: Tenure
    offer: Offer
    front: Front
    place: int
    owned: Ownership | None
    rented: _Rental | None
    values: Values
    survival: Resilience
    goodput: float
    goodput_log_sigma: float
    days: float
    cost: dict[str, float]
    energy_kwh: float
    deadline_s: float
    stated: bool

    @property
    def cost_usd(self) -> float:
        """The whole bill."""
        return sum(self.cost.values())

    @property
    def order(self) -> tuple[float, str, str, str]:
        """Ranking: cost, then hardware, tenure and offer, so that ties are settled."""
        return (self.cost_usd, self.hardware, self.tenure, self.offer.name)

    @property
    def best(self) -> Configuration:
        """All figures of the plan; its ``cost`` is the whole bill."""
        leader = self.front.leaders[self.place]
        raw = configure(leader.search.physics, Layout.of(leader.layout), None)
        sigma = combined_sigma(self.step_sigma, np.asarray(self.goodput_log_sigma))
        low, high = interval_90(np.asarray(self.days), sigma)
        in_time = probability_below(np.asarray(self.deadline_s), np.asarray(self.days * DAY_S), sigma)
        return replace(
            raw,
            offer=self.offer.name,
            provider=self.offer.provider,
            tenure=self.offer.tenure,
            days=self.days,
            days_interval=(float(low), float(high)),
            goodput=self.goodput,
            **self._survival(),
            p_deadline=float(in_time) if math.isfinite(self.deadline_s) else None,
            cost=self.cost,
            cost_usd=self.cost_usd,
        )

    @property
    def storage(self) -> tuple[float, float]:
        """Capacity and bandwidth of the storage, bought or rented, in bytes and bytes per second."""
        if self.owned is not None:
            return float(self.owned.site.storage_bytes), float(self.owned.site.storage_bytes_per_s)
        assert self.rented is not None
        return float(self.rented.storage_bytes(self.values)), float(self.rented.storage_bytes_per_s)

    def _survival(self) -> dict[str, Any]:
        """Interruptions, checkpoints and spares of the plan (no interruptions where the goodput is stated)."""
        spares = 0 if self.owned is None else int(self.owned.site.spares)
        if self.stated:
            return {"spares": spares}
        size = self.front.accelerators[self.place]
        failures = self.survival.on(size)
        return {
            "spares": spares,
            "interruptions": float(failures.interruptions(size, np.asarray(self.days * DAY_S))),
            "checkpoint_s": float(failures.checkpoint_s),
            "checkpoint_interval_s": float(self.survival.interval_s(size)),
        }

    @property
    def step_sigma(self) -> Column:
        """Standard deviation of the logarithm of the step time."""
        return np.asarray(self.front.step_sigma[self.place])

    def delay(self, hours: Column, expected_hours: float) -> Column:
        """Days over the expected ones where hardware interrupts the job once in so many accelerator-hours.

        Args:
            hours: accelerator-hours between interruptions by hardware; spares are taken to follow.
            expected_hours: those that ``survival`` was made with.
        """
        if self.stated:
            return np.ones_like(hours)
        more = (1.0 / hours - 1.0 / expected_hours) / HOUR_S
        others = replace(self.survival, failures_per_accelerator_s=self.survival.failures_per_accelerator_s + more)
        size = self.front.accelerators[self.place]
        return self.survival.goodput(size) / others.goodput(size)

    @property
    def luck_log_sigma(self) -> Column:
        """Standard deviation of the logarithm of the days where the failure rate is known: luck, and who restarts."""
        if self.stated:
            return np.zeros(())
        known = replace(self.survival, rate_log_sigma=np.zeros(()))
        size, wall_s = self.front.accelerators[self.place], np.asarray(self.days * DAY_S)
        return known.log_sigma(size, wall_s, known.goodput(size))

    def bill(self, values: Values, days: Column) -> dict[str, Column]:
        """USD by component under other values (arrays), the cluster being the same."""
        return _bill(self.owned, self.rented, values, days)

    def to_json(self) -> dict[str, Any]:
        """An entry of ``ranking`` (without the probability of winning)."""
        best = self.best.to_json()
        site = self.owned.site if self.owned else None
        return {
            "hardware": self.hardware,
            "tenure": self.tenure,
            "offer": self.offer.name,
            "cost_usd": self.cost_usd,
            "days": self.days,
            "p_deadline": best["p_deadline"],
            "goodput": self.goodput,
            "energy_kwh": self.energy_kwh,
            "capital_usd": None
            if self.owned is None
            else {name: float(usd) for name, usd in self.owned.capital_usd(self.values).items()},
            "network": None
            if site is None
            else {
                "tiers": int(site.network.tiers),
                "leaves": int(site.network.leaves),
                "spines": int(site.network.spines),
                "cores": int(site.network.cores),
                "cables": int(site.network.cables),
                "transceivers": int(site.network.transceivers),
                "bisection_links": float(site.network.bisection_links),
            },
            "spares": None if site is None else int(site.spares),
            "waiting_share": None if site is None else float(site.waiting_share),
            "power_w": None if site is None else float(site.power_w),
            "racks": None if site is None else int(site.racks),
            "storage_bytes": self.storage[0],
            "storage_bytes_per_s": self.storage[1],
            "best": best,
        }


def fronts(job: Job, catalog: Catalog) -> tuple[list[Front], list[Refusal]]:
    """One exact front for every site on which any offer would run the job.

    Raises:
        UnknownNameError, UnsupportedError: the job names something that does not exist.
    """
    tenures = tuple(tenure for paying in PAYING.values() for tenure in paying)
    free = replace(job, deadline_s=math.inf, budget_usd=math.inf, goodput=1.0, confidence=0.5, tenures=tenures)
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


def contenders(found: list[Front], now: Conditions) -> tuple[list[Contender], list[Refusal]]:
    """The best of every hardware and tenure under some conditions, cheapest first, and why others are not.

    Raises:
        InfeasibleError: nothing meets the job.
        UnknownNameError: an offer's currency has no rate.
    """
    ranked: list[Contender] = []
    refused: list[Refusal] = []
    for hardware in dict.fromkeys(front.hardware for front in found):
        for tenure in TENURES:
            options: list[Contender] = []
            offered = False
            for front in found:
                if front.hardware != hardware:
                    continue
                for name in front.offers:
                    offer = now.catalog.offers.get(name)
                    if offer is None or offer.tenure not in PAYING[tenure]:
                        continue
                    offered = True
                    one = contender(front, offer, tenure, now)
                    if one is not None:
                        options.append(one)
                    elif front.site.multi_server:
                        refused.append(Refusal(name, "no cluster meets the deadline and the budget"))
            if not offered:
                refused.append(Refusal(f"{hardware} {tenure}", f"not offered ({', '.join(PAYING[tenure])})"))
            options.sort(key=lambda one: (one.cost_usd, one.offer.name))
            ranked.extend(options[:1])
            refused.extend(
                Refusal(
                    f"{hardware} {tenure}: {other.offer.name}",
                    f"its best plan costs ${other.cost_usd / 1e6:,.3f}M, more than {options[0].offer.name}",
                )
                for other in options[1:]
            )
    if not ranked:
        why = "; ".join(f"{one.what}: {one.reason}" for one in refused[:6])
        raise InfeasibleError(f"nothing meets the deadline and the budget: {why}")
    ranked.sort(key=lambda one: (one.cost_usd, one.hardware, one.tenure))
    return ranked, refused


def offered(found: list[Front], now: Conditions) -> list[Contender]:
    """The best cluster with every single offer that meets the job."""
    tenure_of = {paying: tenure for tenure, kinds in PAYING.items() for paying in kinds}
    known = [(front, now.catalog.offers[name]) for front in found for name in front.offers]
    every = (contender(front, offer, tenure_of[offer.tenure], now) for front, offer in known)
    return [one for one in every if one is not None]


def contender(front: Front, offer: Offer, tenure: Tenure, now: Conditions) -> Contender | None:
    """The cheapest cluster of a front with one offer, or None where none meets deadline and budget.

    Of a purchase, the number of spares is chosen too: with the fewest, the job waits for repairs at times.
    """
    values = values_of(offer, now.catalog)
    survival = resilience(now.job, front.site, now.catalog)
    share, sigma = modelled_goodput(now.job, survival, front.accelerators, front.days * now.slowdown)
    owned = rented = None
    if tenure == "buy":
        owned = ownership(offer, front.servers, now.job, survival, now.catalog, now.terms, MORE_SPARES)
        share = share * (1.0 - owned.site.waiting_share)
    else:
        rented = _Rental.of(offer, front.servers, front.site.server_accelerators, now, survival)
    days = front.days * now.slowdown / share
    bill = _bill(owned, rented, values, days)
    cost = np.asarray(sum(bill.values(), start=np.zeros(())))
    most = math.inf if offer.max_servers is None else offer.max_servers * front.site.server_accelerators
    late = np.exp(NormalDist().inv_cdf(now.job.confidence) * combined_sigma(front.step_sigma, sigma))
    fine = (days * late * DAY_S <= now.job.deadline_s) & (cost <= now.job.budget_usd) & (front.accelerators <= most)
    cost = np.where(fine & np.isfinite(cost), cost, np.inf)
    if not np.isfinite(cost).any():
        return None
    at = np.unravel_index(np.lexsort((days.ravel(), cost.ravel()))[0], cost.shape)
    place = int(at[-1])
    servers = front.servers[place]
    if owned is not None:
        more = MORE_SPARES[at[0], 0]
        owned = ownership(offer, servers, now.job, survival, now.catalog, now.terms, more)
    else:
        rented = _Rental.of(offer, servers, front.site.server_accelerators, now, survival)
    watts = surroundings(offer, servers, now.job, survival, now.catalog).power_w
    return Contender(
        hardware=front.hardware,
        tenure=tenure,
        offer=offer,
        front=front,
        place=place,
        owned=owned,
        rented=rented,
        values=values,
        survival=survival,
        goodput=float(share[at]),
        goodput_log_sigma=float(sigma[place]),
        days=float(days[at]),
        cost={name: float(np.broadcast_to(usd, cost.shape)[at]) for name, usd in bill.items()},
        energy_kwh=float(energy_kwh(watts, np.asarray(days[at] * DAY_S), values["pue"])),
        deadline_s=now.job.deadline_s,
        stated=now.job.goodput is not None,
    )


def _bill(owned: Ownership | None, rented: _Rental | None, values: Values, days: Column) -> dict[str, Column]:
    """USD by component of a cluster that is either owned or rented."""
    if owned is not None:
        return owned.bill(values, days * 24.0)
    assert rented is not None
    return rented.bill(values, days)


@dataclass(frozen=True)
class _Rental:
    """Rented servers of some sizes, and what is paid besides: storage while the run lasts, and moving the model out."""

    offer: Offer
    servers: Column
    server_accelerators: int
    kept_bytes: float
    moved_bytes: float
    storage_bytes_per_s: Column

    @classmethod
    def of(cls, offer: Offer, servers: Column, size: int, now: Conditions, survival: Resilience) -> _Rental:
        """Clusters of so many servers of a size, for a job."""
        kept, moved = stored_bytes(now.job, survival, now.catalog), float(survival.checkpoint_bytes)
        return cls(offer, servers, size, kept, moved, survival.bytes_per_s(servers * size))

    def storage_bytes(self, values: Values) -> Column:
        """Capacity of the storage, of what is kept or of what the bandwidth needs."""
        most = values["storage-rent-most-bytes-per-s-per-tb"] / 1e12
        return store_bytes(np.asarray(self.kept_bytes), self.storage_bytes_per_s, most)

    def bill(self, values: Values, days: Column) -> dict[str, Column]:
        """USD by component: whole servers, at least the fewest that are let and for the shortest term."""
        offer = self.offer
        per_unit = offer.accelerators_per_server if offer.unit == "server_hour" else 1
        hourly = values["price"] * values["fx"] / per_unit
        servers = np.maximum(self.servers, float(offer.min_servers or 1))
        size, term = np.asarray(float(self.server_accelerators)), np.asarray(term_s(offer))
        monthly = store_rent_usd(
            self.storage_bytes(values),
            self.storage_bytes_per_s,
            values["storage-rent-usd-per-tb-month"] / 1e12,
            values["storage-rent-bytes-per-s-per-tb"] / 1e12,
            values["storage-rent-usd-per-gb-s-month"] / 1e9,
        )
        return {
            "rent": rent_usd(servers, size, hourly, days * 24.0 * HOUR_S, term),
            "storage": monthly * days * 24.0 / MONTH_H,
            "egress": self.moved_bytes / 1e9 * values["egress-usd-per-gb"] * np.ones_like(days),
        }


def modelled_goodput(job: Job, survival: Resilience, accelerators: Column, days: Column) -> tuple[Column, Column]:
    """Expected goodput of a job on so many accelerators, and the standard deviation of its logarithm.

    Args:
        job: a goodput it states is taken as it is.
        survival: what interrupts it, and its checkpoints.
        accelerators: of each cluster.
        days: of work.
    """
    if job.goodput is not None:
        return np.full(accelerators.shape, job.goodput), np.zeros(accelerators.shape)
    share = survival.goodput(accelerators)
    return share, survival.log_sigma(accelerators, days * DAY_S / share, share)
