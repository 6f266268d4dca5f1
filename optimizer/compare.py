"""``compare``: hardware against hardware, rent against buying, and what would flip the decision."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, InfeasibleError, UnknownNameError, UsageError
from catalogs.naming import unknown_name
from catalogs.region import Region
from costmodels.architecture import Architecture
from costmodels.flops import model_flops_per_token
from costmodels.parameters import total_params
from costmodels.run import DAY_S
from optimizer.catalog_variant import with_assumptions
from optimizer.contenders import Conditions, Contender, Front, contenders, fronts
from optimizer.failure_rates import failure_rate, failure_rates
from optimizer.job import Job
from optimizer.market import Refusal, where
from optimizer.ownership import Terms
from optimizer.recovery import ASSUMED
from optimizer.rule_of_thumb import Bridge, RuleOfThumb, bridge, rule_of_thumb
from optimizer.sensitivity import Bar, BreakEven, Outcome, Range, break_evens, monte_carlo, tornado

SCHEMA_VERSION = "1"

SURE = 0.9
"""Probability of meeting the deadline below which a surer choice is shown beside the winner."""

DRAWS = 10_000
"""Draws of the Monte Carlo unless told otherwise."""

NOT_MODELLED = (
    "spot servers: the wait for a replacement, and that many are taken back at once",
    "taxes, import duties, financing fees and discounts beyond the stated offers",
    "delivery and construction time: bought hardware is there on the first day",
    "failed experiments, evaluations and restarts by choice",
)
"""What no figure here includes."""

_SIGNS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£"}

READ = (
    "spot-share-taken-per-month",
    "checkpoint-bytes-per-s-per-accelerator",
    "checkpoint-write-s",
    "checkpoints-kept",
    "repair-s",
    "spare-availability",
    "data-bytes-per-token",
    "discount-rate",
    "depreciation-years",
    "residual-share",
    "operations-share",
    "colocation-usd-per-kw-month",
    "electricity-usd-per-kwh",
    "pue",
    "rack-kw",
    "switch-usd",
    "link-usd",
    "switch-w",
    "transceiver-w",
    "storage-usd-per-tb",
    "storage-least-tb",
    "storage-bytes-per-s-per-tb",
    "storage-rent-usd-per-tb-month",
    "storage-rent-bytes-per-s-per-tb",
    "storage-rent-most-bytes-per-s-per-tb",
    "storage-rent-usd-per-gb-s-month",
    "egress-usd-per-gb",
    "carbon-kg-per-kwh",
)
"""Assumptions that a comparison rests on."""


@dataclass(frozen=True)
class Comparison:
    """Who wins, by how much, and what would change it.

    Attributes:
        now: job, catalog and terms.
        ranking: contenders, cheapest first.
        outcomes: what the draws say about each.
        refused: what was not considered or lost to an offer of its kind.
        break_even, tornado: see :mod:`optimizer.sensitivity`.
        thumbs: hand sizing by hardware (empty without a deadline).
        ranges: of the draws.
        draws, seed: of the Monte Carlo.
        currency: of reports (ISO code); JSON is in USD.
        surer: the cheapest choice that meets the deadline with a probability of :data:`SURE` (None: there is none, or
            the winner does).
    """

    now: Conditions
    ranking: tuple[Contender, ...]
    outcomes: tuple[Outcome, ...]
    refused: tuple[Refusal, ...]
    break_even: tuple[BreakEven, ...]
    tornado: tuple[Bar, ...]
    thumbs: dict[str, RuleOfThumb]
    ranges: dict[str, Range]
    draws: int
    seed: int
    currency: str = "USD"
    surer: Contender | None = None

    def amount(self, usd: float) -> float:
        """An amount in the currency of reports, at the catalog's rate."""
        return usd / self.now.catalog.currencies[self.currency.lower()].usd

    @property
    def sign(self) -> str:
        """What stands before amounts."""
        return _SIGNS.get(self.currency, f"{self.currency} ")

    def money(self, usd: float) -> str:
        """An amount for people, in the currency of reports; a dash where there is none."""
        if not math.isfinite(usd):
            return "-"
        amount = self.amount(usd)
        sign = self.sign
        if amount >= 1e6:
            return f"{sign}{amount / 1e6:,.2f}M"
        return f"{sign}{amount:,.0f}" if amount >= 10 else f"{sign}{amount:.2f}"

    @property
    def winner(self) -> Contender:
        """The cheapest."""
        return self.ranking[0]

    def unit_costs(self, one: Contender) -> dict[str, float]:
        """USD per trained model, per 10¹² tokens and per 10²¹ model FLOP."""
        job = self.now.job
        flops = 6.0 * float(total_params(Architecture.of(job.model))) * job.tokens
        return {
            "model_usd": one.cost_usd,
            "per_1t_tokens_usd": one.cost_usd / (job.tokens / 1e12),
            "per_zettaflop_usd": one.cost_usd / (flops / 1e21),
        }

    def bridge(self, one: Contender) -> Bridge | None:
        """What leads from sizing by hand to a choice (None without a deadline)."""
        chain, job = self.thumbs.get(one.hardware), self.now.job
        if chain is None:
            return None
        plan = one.best
        per_token = float(model_flops_per_token(Architecture.of(job.model), np.asarray(float(job.seq))))
        whole = plan.steps * plan.layout.global_batch * job.seq * per_token
        return bridge(chain, plan, whole, job.deadline_s)

    def carbon_kg(self, one: Contender, region: Region | None = None) -> float | None:
        """CO2 of a choice's electricity, in a region or where the comparison stands; None where it is not known."""
        catalog = self.now.catalog
        intensity = catalog.assumption("carbon-kg-per-kwh") if region is None else region.carbon_kg_per_kwh
        return None if intensity is None or math.isnan(intensity) else one.energy_kwh * intensity

    def regions(self) -> list[dict[str, Any]]:
        """What electricity costs in every region of the catalog, and the carbon behind it, by choice."""
        catalog = self.now.catalog
        here = catalog.assumption("electricity-usd-per-kwh")
        rows = []
        for region in catalog.regions.values():
            usd = region.electricity_per_kwh * catalog.currencies[region.currency.lower()].usd
            rows.append(
                {
                    "name": region.name,
                    "electricity_usd_per_kwh": usd,
                    "carbon_kg_per_kwh": region.carbon_kg_per_kwh,
                    "date": region.date,
                    "source": region.sources["*"],
                    "choices": [
                        {
                            "hardware": one.hardware,
                            "tenure": one.tenure,
                            "electricity_usd": one.cost["electricity"] * usd / here if one.owned else None,
                            "carbon_kg": self.carbon_kg(one, region),
                        }
                        for one in self.ranking
                    ],
                }
            )
        return rows

    def risks(self, one: Contender) -> list[str]:
        """What a buyer must know about a contender."""
        site, offer = one.front.site, one.offer
        risks = []
        if site.profile_note:
            risks.append(f"speed: {site.profile_note}")
        if self.now.job.goodput is None and failure_rate(site.accelerator, self.now.catalog).clusters == 0:
            family = site.accelerator.family
            risks.append(f"failures: of {family} no cluster's rate was found; it is that of the clusters of all kinds")
        if site.accelerator.export_note:
            risks.append(f"export: {site.accelerator.export_note}")
        if offer.tenure == "spot":
            share = self.now.catalog.assumption("spot-share-taken-per-month")
            risks.append(
                f"spot: the provider may take servers back at any time; {share:.0%} a month assumed, one by one and "
                "replaced at once, though they are often taken together and nobody promises others"
            )
        if offer.tenure in {"reserved_1y", "reserved_3y"}:
            risks.append("reserved: the whole term is paid, whether the run uses it or not")
        if offer.estimated:
            risks.append(f"offer {offer.name}: estimated {', '.join(offer.estimated)}")
        if offer.notes:
            risks.append(f"offer {offer.name} ({offer.date}): {offer.notes}")
        risks.extend(site.notes)
        return risks

    def assumptions(self) -> list[dict[str, Any]]:
        """Every assumption and price that the figures rest on, with source and date."""
        catalog = self.now.catalog
        read = [catalog.assumptions[name] for name in (*READ, *ASSUMED[self.now.job.recovery])]
        if self.now.job.goodput is None:
            kinds = (one.front.site.accelerator for one in self.ranking)
            read = [*(rate.told for rate in failure_rates(kinds, catalog)), *read]
        records: list[dict[str, Any]] = [
            {
                "name": one.name,
                "value": one.value,
                "interval": None if one.interval is None else list(one.interval),
                "unit": one.unit,
                "estimated": bool(one.estimated),
                "date": one.date,
                "source": one.sources["*"],
            }
            for one in read
            if not math.isnan(one.value)
        ]
        used = {one.offer.name: one.offer for one in self.ranking}
        records.extend(
            {
                "name": f"price:{offer.name}",
                "value": offer.price,
                "interval": None,
                "unit": f"{offer.currency} per {offer.unit.replace('_', '-')}",
                "estimated": "price" in offer.estimated,
                "date": offer.date,
                "source": offer.sources.get("price", offer.sources.get("*", "")),
            }
            for offer in used.values()
        )
        for code in sorted({offer.currency.lower() for offer in used.values()} - {"usd"}):
            rate = catalog.currencies[code]
            records.append(
                {
                    "name": f"fx:{code}",
                    "value": rate.usd,
                    "interval": None,
                    "unit": f"USD per {code.upper()}",
                    "estimated": False,
                    "date": rate.date,
                    "source": rate.sources["*"],
                }
            )
        terms = self.now.terms
        records.append(
            {
                "name": "charge",
                "value": terms.charge,
                "interval": None,
                "unit": "",
                "estimated": False,
                "date": "",
                "source": f"as asked; utilisation of owned equipment {terms.utilisation:g}",
            }
        )
        return records

    def to_json(self) -> dict[str, Any]:
        """The document of ``compare --json``."""
        job = self.now.job
        return {
            "schema_version": SCHEMA_VERSION,
            "job": {
                "model": job.model.name,
                "tokens": job.tokens,
                "deadline_days": job.deadline_s / DAY_S if math.isfinite(job.deadline_s) else None,
                "hardware": list(job.hardware),
                "seq": job.seq,
                "global_batch": job.global_batch,
                "recovery": job.recovery if job.goodput is None else None,
            },
            "ranking": [
                one.to_json()
                | {
                    "wins_probability": outcome.wins,
                    "cost_usd_quantiles": list(outcome.cost_usd),
                    "days_quantiles": list(outcome.days),
                    "carbon_kg": self.carbon_kg(one),
                    "unit_costs": self.unit_costs(one),
                    "risks": self.risks(one),
                    "from_rule_of_thumb": None if (found := self.bridge(one)) is None else found.to_json(),
                }
                for one, outcome in zip(self.ranking, self.outcomes, strict=True)
            ],
            "surer": None if self.surer is None else self.surer.to_json(),
            "regions": self.regions(),
            "break_even": [one.to_json() for one in self.break_even],
            "tornado": [one.to_json() for one in self.tornado],
            "rule_of_thumb": {name: one.to_json() for name, one in self.thumbs.items()},
            "rejected": [{"what": one.what, "reason": one.reason} for one in self.refused],
            "monte_carlo": {
                "draws": self.draws,
                "seed": self.seed,
                "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            },
            "assumptions": self.assumptions(),
            "not_modelled": list(NOT_MODELLED),
        }


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
        break_even=tuple(break_evens(ranking, now)),
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
