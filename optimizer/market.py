"""Sites and prices: the hardware a job may run on, and what each way of paying for it costs.

A *site* is everything the physics depends on: accelerator, server, network, framework, profile. Offers that differ
only in price share one site, so that seconds and bytes are computed once for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, reduce

import numpy as np

from catalogs.accelerator import Accelerator
from catalogs.catalog import SUFFIXES, Catalog
from catalogs.errors import UnknownNameError, UnsupportedError
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.inheritance import resolve_profile
from catalogs.naming import unknown_name
from catalogs.offer import Offer, Tenure
from catalogs.profile import Precision, Profile
from catalogs.server import Server
from costmodels.bill import HOUR_S, energy_usd, purchase_usd, rent_usd, whole_servers
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.goodput import spares_needed
from costmodels.recipe import MOMENT_BYTES, Recipe
from optimizer.failure_rates import failure_rate
from optimizer.job import Job

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


MAX_TOLD = 6
"""Most refusals that one error message lists."""

USUAL_FRAMEWORK: dict[str, str] = {
    "nvidia": "megatron-lm",
    "amd": "primus-megatron",
    "huawei": "mindspeed-llm",
    "google": "maxtext",
    "intel": "optimum-habana",
    "aws": "neuronx-distributed",
}
"""Framework assumed for a vendor when the job names none."""


@dataclass(frozen=True)
class Price:
    """An offer in USD.

    Attributes:
        offer: the catalog record.
        usd: per accelerator-hour for rent, per server for purchase.
    """

    offer: Offer
    usd: float

    @property
    def bought(self) -> bool:
        """Whether the servers are bought."""
        return self.offer.tenure == "purchase"


@dataclass(frozen=True)
class Site:
    """Hardware, network and software of one kind, and the offers for it.

    Attributes:
        accelerator, server, fabric, framework, profile: catalog records.
        profile_note: how the profile was found, in words ("" when it was fitted for exactly this).
        precision: training precision.
        server_accelerators: accelerators in the smallest unit that is paid for.
        scale_out_bytes_per_s: network per accelerator.
        multi_server: whether servers may be combined.
        prices: offers in USD.
        notes: what was assumed about the hardware.
        spot: whether the provider may take servers back.
    """

    accelerator: Accelerator
    server: Server
    fabric: Fabric
    framework: Framework
    profile: Profile
    profile_note: str
    precision: Precision
    server_accelerators: int
    scale_out_bytes_per_s: float
    multi_server: bool
    prices: tuple[Price, ...]
    notes: tuple[str, ...] = field(default=())
    spot: bool = False

    @property
    def max_accelerators(self) -> float:
        """Largest cluster the network allows."""
        return float("inf") if self.multi_server else float(self.server_accelerators)


@dataclass(frozen=True)
class Refusal:
    """Something that was not considered, and why."""

    what: str
    reason: str


def sites(job: Job, catalog: Catalog) -> tuple[list[Site], list[Refusal]]:
    """The sites on which a job may run, with their offers, and what was refused with the reason.

    Raises:
        UnknownNameError: the job names something that no catalog holds.
        UnsupportedError: nothing that was named works together.
    """
    check_names(job, catalog)
    found: list[Site] = []
    refused: list[Refusal] = []
    for name in job.hardware or tuple(catalog.accelerators):
        accelerator = catalog.accelerators[name]
        offers = [o for o in catalog.offers.values() if o.accelerator == name and _wanted(o, job)]
        absurd = {o.name: reason for o in offers if (reason := absurd_price(o, catalog))}
        refused.extend(Refusal(f"offer {other}", reason) for other, reason in absurd.items())
        offers = [o for o in offers if o.name not in absurd]
        if not offers:
            refused.append(Refusal(name, "no offer is left" if absurd else _no_offer(name, job, catalog)))
            continue
        for framework in job.frameworks or (usual_framework(accelerator),):
            try:
                here = _sites_of(accelerator, offers, framework, job, catalog)
                found.extend(here)
                refused.extend(_islands(here))
            except UnsupportedError as error:
                refused.append(Refusal(name, str(error)))
    if not found:
        # Without named hardware, an accelerator that nobody offers is no news.
        told = [
            r for r in refused if job.hardware or any(_wanted(o, job) for o in _offers_of(r.what, catalog))
        ] or refused
        more = f"; and {len(told) - MAX_TOLD} more" if len(told) > MAX_TOLD else ""
        raise UnsupportedError("; ".join(f"{r.what}: {r.reason}" for r in told[:MAX_TOLD]) + more)
    return found, refused


def _islands(found: list[Site]) -> list[Refusal]:
    """One refusal for all offers whose servers have no network to train over."""
    islands = [site for site in found if not site.multi_server]
    names = [price.offer.name for site in islands for price in site.prices]
    if not names:
        return []
    told = ", ".join(names[:MAX_TOLD]) + (f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else "")
    return [
        Refusal(
            f"{islands[0].accelerator.name} in several servers",
            f"no training-grade network between the servers of {told}: refused for more than one server",
        )
    ]


def check_names(job: Job, catalog: Catalog) -> None:
    """Check every name in a job against the catalog.

    Raises:
        UnknownNameError: a name is unknown; the message has the nearest known ones.
    """
    for name in job.hardware:
        catalog.find("accelerators", name)
    for name in job.frameworks:
        catalog.find("frameworks", name)
    for name in job.offers:
        catalog.find("offers", name)
    if job.optimizer not in MOMENT_BYTES:
        raise UnknownNameError(unknown_name("optimizer", job.optimizer, MOMENT_BYTES))


def absurd_price(offer: Offer, catalog: Catalog) -> str:
    """Why nobody can mean a price ("" where somebody can): a rent below the electricity of the accelerator alone."""
    accelerator, rate = catalog.accelerators.get(offer.accelerator), catalog.currencies.get(offer.currency.lower())
    if offer.tenure == "purchase" or accelerator is None or accelerator.tdp_w is None or rate is None:
        return ""
    hourly = offer.price * rate.usd / (offer.accelerators_per_server if offer.unit == "server_hour" else 1)
    least = accelerator.tdp_w / 1000.0 * catalog.assumption("electricity-usd-per-kwh")
    if hourly >= least:
        return ""
    return (
        f"{where(catalog, offer.name)}: ${hourly:.4g} per accelerator-hour is less than the electricity alone, "
        f"${least:.2g} at {accelerator.tdp_w:g} W; correct the price or its unit"
    )


def where(catalog: Catalog, offer: str) -> str:
    """File and line of an offer, of the directory that has the last word ("offers/" for one that no file holds)."""
    line_of = re.compile(rf"^(-?\s*name:\s*)?[\"']?{re.escape(offer)}[\"']?\s*(,|$)")
    for directory in reversed(catalog.directories):
        for path in sorted((directory / "offers").glob("*")):
            if path.suffix.lower() not in SUFFIXES:
                continue
            for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
                if line_of.match(line):
                    return f"{path}:{number}"
    return "offers/"


def _offers_of(accelerator: str, catalog: Catalog) -> list[Offer]:
    return [o for o in catalog.offers.values() if o.accelerator == accelerator]


def _no_offer(accelerator: str, job: Job, catalog: Catalog) -> str:
    """Why no offer of an accelerator is considered, and what would help."""
    known = sorted({o.tenure for o in _offers_of(accelerator, catalog)})
    if not known:
        return "no offer in the catalog; add one under offers/ of a directory given with --catalog"
    if job.offers:
        return "none of the named offers is for it"
    return f"not offered {' or '.join(_words(job.tenures))} in the catalog, only {', '.join(_words(known))}"


def _words(tenures: Iterable[Tenure]) -> list[str]:
    return [tenure.replace("_", " ") for tenure in tenures]


def usual_framework(accelerator: Accelerator) -> str:
    """The framework assumed for an accelerator when the job names none ("" where there is no usual one)."""
    return USUAL_FRAMEWORK.get(accelerator.vendor, "")


def site_of(accelerator: Accelerator, job: Job, catalog: Catalog) -> Site:
    """The site of an accelerator for an estimate: that of a named offer, else its usual server, offers or not.

    Raises:
        UnknownNameError: the job names something that no catalog holds.
        UnsupportedError: the framework does not run on the accelerator, or its server has no network.
    """
    check_names(job, catalog)
    framework = job.frameworks[0] if job.frameworks else usual_framework(accelerator)
    offers = [o for o in catalog.offers.values() if o.accelerator == accelerator.name and _wanted(o, job)]
    server = catalog.server_of(accelerator.name)
    network = _network(server, server)
    default = _site(
        accelerator, [], server.fabric or "", server.accelerators, network, True, False, set(), framework, job, catalog
    )
    known = _sites_of(accelerator, offers, framework, job, catalog) if offers else []
    if job.offers and known:
        return min(known, key=lambda site: (not site.multi_server, min(price.usd for price in site.prices)))
    same = [s for s in known if s.multi_server and s.scale_out_bytes_per_s == network]
    return same[0] if same else default


def _wanted(offer: Offer, job: Job) -> bool:
    return offer.name in job.offers if job.offers else offer.tenure in job.tenures


def _sites_of(accelerator: Accelerator, offers: list[Offer], framework: str, job: Job, catalog: Catalog) -> list[Site]:
    """Offers of one accelerator grouped by what the physics depends on."""
    usual = catalog.server_of(accelerator.name)
    groups: dict[tuple[str, int, float, bool, bool], list[Price]] = {}
    silent: dict[tuple[str, int, float, bool, bool], set[str]] = {}
    for offer in offers:
        server = catalog.servers.get(offer.instance.lower(), usual)
        if server.accelerator != accelerator.name:
            server = usual
        fabric = server.fabric or usual.fabric or ""
        multi_server = _training_grade(offer, fabric, catalog)
        # Cards sold one by one, but with a network between servers, come in whole servers.
        single = offer.accelerators_per_server == 1
        size = server.accelerators if single and multi_server else offer.accelerators_per_server
        network = offer.scale_out_bytes_per_s_per_accelerator or _network(server, usual)
        key = (fabric, size, network, multi_server, offer.tenure == "spot")
        # A purchase is priced per unit sold; a server of cards that are sold one by one costs as many.
        units = size / offer.accelerators_per_server if offer.unit == "server" else 1.0
        groups.setdefault(key, []).append(Price(offer, _usd(offer, catalog) * units))
        if offer.scale_out_bytes_per_s_per_accelerator is None:
            silent.setdefault(key, set()).add(offer.provider)
    return [
        _site(accelerator, prices, *key, silent.get(key, set()), framework, job, catalog)
        for key, prices in groups.items()
    ]


def _training_grade(offer: Offer, fabric: str, catalog: Catalog) -> bool:
    """Whether clusters of an offer may have several servers: as it says, else as the fabric of its server allows."""
    if offer.training_grade is not None:
        return offer.training_grade
    return fabric not in catalog.fabrics or catalog.fabrics[fabric].training_grade


def _network(server: Server, usual: Server) -> float:
    network = server.scale_out_bytes_per_s_per_accelerator or usual.scale_out_bytes_per_s_per_accelerator
    if network is None:
        raise UnsupportedError(f"server {server.name} has no network in the catalog; add its bandwidth")
    return network


def _site(
    accelerator: Accelerator,
    prices: list[Price],
    fabric: str,
    size: int,
    network: float,
    multi_server: bool,
    spot: bool,
    silent: set[str],
    framework_name: str,
    job: Job,
    catalog: Catalog,
) -> Site:
    precision = precision_of(accelerator, job)
    framework = _framework(accelerator, framework_name, catalog)
    profile, note = resolve_profile(catalog, accelerator, framework.name, precision)
    usual = catalog.server_of(accelerator.name)
    if fabric not in catalog.fabrics:
        raise UnsupportedError(f"server {usual.name} has no fabric in the catalog; add it")
    notes = []
    if multi_server and silent:
        notes.append(
            f"{accelerator.name}: network between servers not stated by {', '.join(sorted(silent))}; "
            f"assumed {network * 8 / 1e9:.0f} Gbit/s per accelerator, as in {usual.title or usual.name}"
        )
    site = Site(
        accelerator=accelerator,
        server=usual,
        fabric=catalog.fabrics[fabric],
        framework=framework,
        profile=profile,
        profile_note=note,
        precision=precision,
        server_accelerators=size,
        scale_out_bytes_per_s=network,
        multi_server=multi_server,
        prices=tuple(prices),
        notes=tuple(notes),
        spot=spot,
    )
    # Both say so when the accelerator lacks the precision, or the framework the optimizer.
    Device.of(accelerator, size, site.fabric, precision, network)
    Recipe.of(framework, precision, job.optimizer)
    return site


def precision_of(accelerator: Accelerator, job: Job) -> Precision:
    """The precision that a job trains in on an accelerator."""
    if job.precision != "auto":
        return job.precision
    return "bf16" if "bf16" in accelerator.peak_flops_per_s else "fp16"


def _framework(accelerator: Accelerator, name: str, catalog: Catalog) -> Framework:
    if not name:
        raise UnsupportedError(f"no usual framework for {accelerator.vendor}; name one with --framework")
    framework = catalog.frameworks[name]
    if accelerator.vendor not in framework.vendors:
        raise UnsupportedError(
            f"{framework.name} does not run on {accelerator.vendor} accelerators, only on "
            f"{', '.join(framework.vendors)}"
        )
    return framework


def _usd(offer: Offer, catalog: Catalog) -> float:
    rate = catalog.currencies.get(offer.currency.lower())
    if rate is None:
        raise UnknownNameError(
            f"offer {offer.name}: no exchange rate for {offer.currency}; add {offer.currency.lower()!r} to currencies/"
        )
    amount = offer.price * rate.usd
    return amount / offer.accelerators_per_server if offer.unit == "server_hour" else amount


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
