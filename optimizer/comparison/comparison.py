"""Who wins a comparison, by how much, and what would change it: the record behind reports and JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalogs.region import Region
from costmodels.architecture import Architecture
from costmodels.flops import model_flops_per_token
from costmodels.parameters import total_params
from costmodels.run import DAY_S
from optimizer.comparison.break_even import BreakEven
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender
from optimizer.comparison.monte_carlo import Outcome, Range
from optimizer.comparison.rule_of_thumb import Bridge, RuleOfThumb, bridge
from optimizer.comparison.tornado import Bar
from optimizer.failure_rates import failure_rate, failure_rates
from optimizer.recovery import ASSUMED
from optimizer.site import Refusal

SCHEMA_VERSION = "1"

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
        break_even, tornado: see :mod:`optimizer.comparison`.
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
        records = [one.to_json() for one in read if not math.isnan(one.value)]
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
