"""``compare``: hardware against hardware, rent against buying, and what would flip the decision."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import replace

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, InfeasibleError, UnknownNameError, UsageError
from catalogs.naming import unknown_name
from costmodels.architecture import Architecture
from costmodels.parameters import total_params
from optimizer.catalog_variant import with_assumptions
from optimizer.comparison.break_even import break_evens
from optimizer.comparison.comparison import Comparison
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender
from optimizer.comparison.contenders import contenders
from optimizer.comparison.fronts import Front, fronts
from optimizer.comparison.monte_carlo import Range, monte_carlo
from optimizer.comparison.ownership import Terms
from optimizer.comparison.rule_of_thumb import rule_of_thumb
from optimizer.comparison.tornado import tornado
from optimizer.job import SURE, Job
from optimizer.offers import where

DRAWS = 10_000
"""Draws of the Monte Carlo unless told otherwise."""


def compare(
    job: Job,
    catalog: Catalog | None = None,
    *,
    terms: Terms | None = None,
    ranges: Mapping[str, Range] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    thumb_parameters: float | None = None,
    currency: str = "USD",
    region: str | None = None,
    today: datetime.date | None = None,
) -> Comparison:
    """Compare the hardware of a job, rented, reserved and bought.

    Args:
        job: the question; it names the hardware.
        catalog: what exists; the shipped catalog if not given.
        terms: how purchases are charged.
        ranges: uncertain inputs of the Monte Carlo.
        draws: of the Monte Carlo.
        seed: of its generator.
        thumb_parameters: parameters that sizing by hand starts from; the model's own if not given.
        currency: of reports, an ISO code with a rate in the catalog.
        region: where bought servers stand: its electricity price and carbon; the catalog's assumptions if not given.
        today: offers dated later are refused.

    Raises:
        UsageError: no hardware is named, or a value makes no sense.
        DataFileError: an offer is dated in the future.
        InfeasibleError: nothing meets the deadline and the budget.
    """
    catalog = catalog or Catalog()
    if not job.hardware:
        raise UsageError("compare needs --hardware: at least one accelerator")
    for name in job.hardware:
        catalog.find("accelerators", name)
    if currency.lower() not in catalog.currencies:
        raise UnknownNameError(unknown_name("currency", currency, (code.upper() for code in catalog.currencies)))
    _check_offers(job, catalog, today or datetime.datetime.now(tz=datetime.UTC).date())
    if region is not None:
        catalog = _in_region(catalog, region)
    now = Conditions(job, catalog, terms or Terms())
    found, refused = fronts(job, catalog)
    ranking, lost = contenders(found, now)
    outcomes = monte_carlo(ranking, now, ranges or {}, draws=draws, seed=seed)
    thumbs = {}
    if math.isfinite(job.deadline_s):
        parameters = thumb_parameters or float(total_params(Architecture.of(job.model)))
        for front in found:
            peaks = {str(name): peak for name, peak in front.site.accelerator.peak_flops_per_s.items()}
            peak = peaks.get(front.site.precision)
            if peak is not None:
                thumbs[front.hardware] = rule_of_thumb(parameters, job.tokens, job.deadline_s, peak)
    return Comparison(
        now=now,
        ranking=tuple(ranking),
        outcomes=tuple(outcomes),
        refused=(*refused, *lost),
        break_even=tuple(break_evens(ranking, found, now)),
        tornado=tuple(tornado(found, now)),
        thumbs=thumbs,
        ranges=dict(ranges or {}),
        draws=draws,
        seed=seed,
        currency=currency.upper(),
        surer=_surer(found, now, ranking[0]),
    )


def _in_region(catalog: Catalog, name: str) -> Catalog:
    """The catalog with the electricity and carbon of a region (not a number where nobody says)."""
    catalog.find("regions", name)
    region = catalog.regions[name]
    carbon = math.nan if region.carbon_kg_per_kwh is None else region.carbon_kg_per_kwh
    usd = region.electricity_per_kwh * catalog.currencies[region.currency.lower()].usd
    changed = with_assumptions(catalog, {"electricity-usd-per-kwh": usd, "carbon-kg-per-kwh": carbon})
    for record, field_ in (("electricity-usd-per-kwh", "*"), ("carbon-kg-per-kwh", "carbon_kg_per_kwh")):
        source = f"region {name}: {region.sources.get(field_, '')}"
        told = {"sources": {"*": source}, "date": region.date, "notes": region.notes, "estimated": region.estimated}
        changed.assumptions[record] = changed.assumptions[record].model_copy(update=told)
    return changed


def _surer(found: list[Front], now: Conditions, winner: Contender) -> Contender | None:
    """The cheapest choice that meets the deadline with :data:`SURE` probability, where the winner does not."""
    if not math.isfinite(now.job.deadline_s) or (winner.best.p_deadline or 0.0) >= SURE - 1e-9:
        return None
    try:
        return contenders(found, replace(now, job=replace(now.job, confidence=SURE)))[0][0]
    except InfeasibleError:
        return None


def _check_offers(job: Job, catalog: Catalog, today: datetime.date) -> None:
    """Refuse offers of the job's hardware that are dated after today, or in a currency without a rate.

    Raises:
        DataFileError: with file and line.
    """
    for offer in catalog.offers.values():
        if offer.accelerator not in job.hardware:
            continue
        if offer.date > today.isoformat():
            raise DataFileError(
                f"{where(catalog, offer.name)}: offer {offer.name} is dated {offer.date}, which is after {today}; "
                "correct its date"
            )
        if offer.currency.lower() not in catalog.currencies:
            raise DataFileError(
                f"{where(catalog, offer.name)}: offer {offer.name}: no exchange rate for {offer.currency}; "
                f"add {offer.currency.lower()!r} to currencies/"
            )
