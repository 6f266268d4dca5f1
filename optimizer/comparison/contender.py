"""The best plan for one hardware and one offer, with the whole bill."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from catalogs.offer import Offer
from costmodels.bill import HOUR_S
from costmodels.columns import Column
from costmodels.finance import energy_kwh
from costmodels.goodput import Resilience
from costmodels.interval import combined_sigma, interval_90, probability_below
from costmodels.run import DAY_S
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.fronts import Front
from optimizer.comparison.ownership import Ownership, Values, ownership, surroundings, values_of
from optimizer.comparison.rental import Rental
from optimizer.comparison.tenures import Tenure
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import resilience

MORE_SPARES = np.arange(9.0)[:, None]
"""Spares beyond the fewest that are tried for a purchase; with so many, no cluster waits one part in 10,000."""


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
    rented: Rental | None
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
        raw = configure(leader.physics, Layout.of(leader.layout), None)
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
        rented = Rental.of(offer, front.servers, front.site.server_accelerators, now, survival)
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
        rented = Rental.of(offer, servers, front.site.server_accelerators, now, survival)
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


def _bill(owned: Ownership | None, rented: Rental | None, values: Values, days: Column) -> dict[str, Column]:
    """USD by component of a cluster that is either owned or rented."""
    if owned is not None:
        return owned.bill(values, days * 24.0)
    assert rented is not None
    return rented.bill(values, days)


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


def label(one: Contender) -> str:
    """Hardware and tenure, as reports name a contender."""
    return f"{one.hardware} {one.tenure}"
