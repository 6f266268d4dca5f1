"""The market of a job: the sites on which it may run, grouped from offers, and what was refused with the reason."""

from __future__ import annotations

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog
from catalogs.consistency import check_offer_accelerators
from catalogs.errors import DataFileError, UnknownNameError, UnsupportedError
from catalogs.framework import Framework
from catalogs.inheritance import resolve_profile
from catalogs.naming import unknown_name
from catalogs.offer import Offer
from catalogs.profile import Precision
from catalogs.server import Server
from costmodels.device import Device
from costmodels.recipe import MOMENT_BYTES, Recipe
from optimizer.job import Job
from optimizer.offers import absurd_price, no_offer, offers_of, usd_of, wanted
from optimizer.site import Price, Refusal, Site

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
        offers = [o for o in catalog.offers.values() if o.accelerator == name and wanted(o, job)]
        absurd = {o.name: reason for o in offers if (reason := absurd_price(o, catalog))}
        refused.extend(Refusal(f"offer {other}", reason) for other, reason in absurd.items())
        offers = [o for o in offers if o.name not in absurd]
        if not offers:
            refused.append(Refusal(name, "no offer is left" if absurd else no_offer(name, job, catalog)))
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
            r for r in refused if job.hardware or any(wanted(o, job) for o in offers_of(r.what, catalog))
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
    """Check every name in a job against the catalog, and those of the offers it may choose from.

    Raises:
        UnknownNameError: a name is unknown; the message has the nearest known ones.
        DataFileError: an offer is for an accelerator that no catalog holds: it would be left out unseen.
    """
    for problem in check_offer_accelerators(catalog):
        raise DataFileError(problem)
    for name in job.hardware:
        catalog.find("accelerators", name)
    for name in job.frameworks:
        catalog.find("frameworks", name)
    for name in job.offers:
        catalog.find("offers", name)
    if job.optimizer not in MOMENT_BYTES:
        raise UnknownNameError(unknown_name("optimizer", job.optimizer, MOMENT_BYTES))


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
    offers = [o for o in catalog.offers.values() if o.accelerator == accelerator.name and wanted(o, job)]
    server = catalog.server_of(accelerator.name)
    network = _network(server, server)
    default = _site(
        accelerator, [], server.fabric or "", server.accelerators, network, True, False, set(), framework, job, catalog
    )
    known = _sites_of(accelerator, offers, framework, job, catalog) if offers else []
    if job.offers and known:
        return min(known, key=lambda site: (not site.multi_server, min(price.usd for price in site.prices)))
    same = [s for s in known if s.multi_server and s.scale_out_bytes_per_s == network]
    # Offers on the server's own fabric, else on another one as fast.
    same.sort(key=lambda s: (s.fabric.name, s.server_accelerators) != (server.fabric, server.accelerators))
    return same[0] if same else default


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
        groups.setdefault(key, []).append(Price(offer, usd_of(offer, catalog) * units))
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
