"""What moves the cost: the cheapest choice with each parameter low and high."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from catalogs.assumption import Assumption
from catalogs.errors import InfeasibleError
from catalogs.offer import Currency, Offer
from costmodels.run import DAY_S
from optimizer.catalog_variant import restated, with_assumption, with_assumptions, with_currencies, with_offers
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender, label
from optimizer.comparison.contenders import contenders, offered
from optimizer.comparison.fronts import Front
from optimizer.failure_rates import failure_rates
from optimizer.recovery import ASSUMED

PRICE_SWING = 0.2
"""Relative swing of prices in the tornado."""

SWING = 0.1
"""Relative swing of MFU, tokens, deadline and exchange rates in the tornado."""


@dataclass(frozen=True)
class Bar:
    """One bar of the tornado: the cheapest choice with a parameter low and high.

    Attributes:
        parameter: what is varied.
        low, high: its values (infinite costs: nothing is feasible there).
        cost_low_usd, cost_high_usd: of the winner there.
        winner_low, winner_high: which that is.
    """

    parameter: str
    low: float
    high: float
    cost_low_usd: float
    cost_high_usd: float
    winner_low: str
    winner_high: str

    def to_json(self) -> dict[str, object]:
        """An entry of ``tornado``."""
        return {
            "parameter": self.parameter,
            "low": self.low,
            "high": self.high,
            "cost_low_usd": _finite(self.cost_low_usd),
            "cost_high_usd": _finite(self.cost_high_usd),
            "winner_low": self.winner_low,
            "winner_high": self.winner_high,
        }


Change = Callable[[Conditions, float], Conditions]


def tornado(found: list[Front], now: Conditions) -> list[Bar]:
    """The cheapest choice with each parameter low and high, widest bar first."""
    bars = [_bar(found, now, *row) for row in _swings(found, now)]
    everyone = offered(found, now)
    names = dict.fromkeys(name for front in found for name in front.offers)
    bars += [_price_bar(found, now, everyone, now.catalog.offers[name]) for name in names]
    return sorted(bars, key=lambda bar: (-_width(bar), bar.parameter))


def _width(bar: Bar) -> float:
    width = abs(bar.cost_high_usd - bar.cost_low_usd)
    return width if math.isfinite(width) else math.inf


def _bar(found: list[Front], now: Conditions, parameter: str, low: float, high: float, change: Change) -> Bar:
    ends = []
    for value in (low, high):
        try:
            best = contenders(found, change(now, value))[0][0]
            ends.append((best.cost_usd, label(best)))
        except InfeasibleError:
            ends.append((math.inf, "none"))
    return Bar(parameter, low, high, ends[0][0], ends[1][0], ends[0][1], ends[1][1])


def _price_bar(found: list[Front], now: Conditions, everyone: list[Contender], offer: Offer) -> Bar:
    """The bar of an offer's price: all other offers stay as they are."""
    others = [one for one in everyone if one.offer.name != offer.name]
    here = [front for front in found if offer.name in front.offers]
    ends = []
    for price in (offer.price * (1 - PRICE_SWING), offer.price * (1 + PRICE_SWING)):
        changed = replace(now, catalog=with_offers(now.catalog, _repriced(now, offer, price)))
        known = [*others, *offered([replace(front, offers=(offer.name,)) for front in here], changed)]
        best = min(known, key=lambda one: one.order, default=None)
        ends.append((price, math.inf, "none") if best is None else (price, best.cost_usd, label(best)))
    (low, cost_low, winner_low), (high, cost_high, winner_high) = ends
    name = f"price of {offer.name} ({offer.currency} per {offer.unit.replace('_', '-')})"
    return Bar(name, low, high, cost_low, cost_high, winner_low, winner_high)


def _repriced(now: Conditions, offer: Offer, price: float) -> dict[str, Offer]:
    return now.catalog.offers | {offer.name: offer.model_copy(update={"price": price})}


def _swings(found: list[Front], now: Conditions) -> list[tuple[str, float, float, Change]]:
    """What the tornado varies, from where to where."""
    rows: list[tuple[str, float, float, Change]] = [
        ("MFU (relative)", 1 - SWING, 1 + SWING, lambda c, x: replace(c, slowdown=c.slowdown / x)),
        ("tokens (relative)", 1 - SWING, 1 + SWING, _tokens),
        _ends("electricity-usd-per-kwh", 0.056, 0.1729, now),
        _ends("depreciation-years", 3.0, 6.0, now),
    ]
    if now.job.goodput is None:
        told = [rate.told for rate in failure_rates((front.site.accelerator for front in found), now.catalog)]
        told += [now.catalog.assumptions[name] for name in ASSUMED[now.job.recovery]]
        rows += [(one.name, *one.interval, _restate(one)) for one in told if one.interval is not None]
    if math.isfinite(now.job.deadline_s):
        days = now.job.deadline_s / DAY_S
        rows.append(("deadline (days)", days * (1 - SWING), days * (1 + SWING), _deadline))
    codes = (now.catalog.offers[name].currency.lower() for front in found for name in front.offers)
    for code in dict.fromkeys(codes):
        if code != "usd":
            rate = now.catalog.currencies[code].usd
            rows.append((f"USD per {code.upper()}", rate * (1 - SWING), rate * (1 + SWING), _rate(code)))
    return rows


def _tokens(now: Conditions, factor: float) -> Conditions:
    job = replace(now.job, tokens=now.job.tokens * factor)
    return replace(now, job=job, slowdown=now.slowdown * factor)


def _ends(name: str, low: float, high: float, now: Conditions) -> tuple[str, float, float, Change]:
    """An assumption from low to high, further out where the user's own value is."""
    stated = now.catalog.assumption(name)
    return name, min(low, stated), max(high, stated), _assume(name)


def _assume(name: str) -> Change:
    return lambda now, value: replace(now, catalog=with_assumptions(now.catalog, {name: value}))


def _restate(record: Assumption) -> Change:
    return lambda now, value: replace(now, catalog=with_assumption(now.catalog, restated(record, value)))


def _deadline(now: Conditions, days: float) -> Conditions:
    return replace(now, job=replace(now.job, deadline_s=days * DAY_S))


def _rate(code: str) -> Change:
    def change(now: Conditions, usd: float) -> Conditions:
        rates: dict[str, Currency] = dict(now.catalog.currencies)
        rates[code] = rates[code].model_copy(update={"usd": usd})
        return replace(now, catalog=with_currencies(now.catalog, rates))

    return change


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
