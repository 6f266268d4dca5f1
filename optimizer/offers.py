"""Offers of the catalog: which a job wants, what they cost in USD, and why some are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from catalogs.catalog import SUFFIXES, Catalog
from catalogs.errors import UnknownNameError
from catalogs.offer import Offer, Tenure
from optimizer.job import Job


def wanted(offer: Offer, job: Job) -> bool:
    """Whether a job considers an offer: one that it names, else one that is paid for as it allows."""
    return offer.name in job.offers if job.offers else offer.tenure in job.tenures


def offers_of(accelerator: str, catalog: Catalog) -> list[Offer]:
    """The offers of one accelerator."""
    return [o for o in catalog.offers.values() if o.accelerator == accelerator]


def no_offer(accelerator: str, job: Job, catalog: Catalog) -> str:
    """Why no offer of an accelerator is considered, and what would help."""
    known = sorted({o.tenure for o in offers_of(accelerator, catalog)})
    if not known:
        return "no offer in the catalog; add one under offers/ of a directory given with --catalog"
    if job.offers:
        return "none of the named offers is for it"
    return f"not offered {' or '.join(_words(job.tenures))} in the catalog, only {', '.join(_words(known))}"


def _words(tenures: Iterable[Tenure]) -> list[str]:
    return [tenure.replace("_", " ") for tenure in tenures]


def usd_of(offer: Offer, catalog: Catalog) -> float:
    """The price in USD: per accelerator-hour for rent, per unit sold for a purchase.

    Raises:
        UnknownNameError: its currency has no exchange rate.
    """
    rate = catalog.currencies.get(offer.currency.lower())
    if rate is None:
        raise UnknownNameError(
            f"offer {offer.name}: no exchange rate for {offer.currency}; add {offer.currency.lower()!r} to currencies/"
        )
    amount = offer.price * rate.usd
    return amount / offer.accelerators_per_server if offer.unit == "server_hour" else amount


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
