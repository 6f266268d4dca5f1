"""What would flip the decision: break-even prices, the tornado, and the probability that each choice wins.

Every figure is a comparison made again under changed conditions, over the same exact fronts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UnknownNameError, UsageError
from catalogs.naming import unknown_name
from catalogs.offer import Currency, Offer
from costmodels.columns import Column
from costmodels.finance import break_even_months, break_even_utilisation
from costmodels.run import DAY_S
from optimizer.catalog_variant import restated, with_assumption, with_assumptions, with_currencies, with_offers
from optimizer.contenders import Conditions, Contender, Front, contender, contenders, offered
from optimizer.failure_rates import STATED, failure_rate, failure_rates

PRICE_SWING = 0.2
"""Relative swing of prices in the tornado."""

SWING = 0.1
"""Relative swing of MFU, tokens, deadline and exchange rates in the tornado."""

NORMAL_95 = 1.6448536269514722
"""95% point of the standard normal distribution."""

TOLERANCE = 1e-9
"""Relative accuracy of a break-even price."""


@dataclass(frozen=True)
class BreakEven:
    """Where a decision flips.

    Attributes:
        parameter: what is varied, in words.
        unit: its unit.
        current: its value now.
        flips_at: the value at which ``winner_to`` becomes as cheap as ``winner_from`` (None: at no value).
        winner_from, winner_to: hardware and tenure.
    """

    parameter: str
    unit: str
    current: float
    flips_at: float | None
    winner_from: str
    winner_to: str

    def to_json(self) -> dict[str, object]:
        """An entry of ``break_even``."""
        return {
            "parameter": self.parameter,
            "unit": self.unit,
            "current": self.current,
            "flips_at": self.flips_at,
            "from": self.winner_from,
            "to": self.winner_to,
        }


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


def label(one: Contender) -> str:
    """Hardware and tenure, as reports name a contender."""
    return f"{one.hardware} {one.tenure}"


def price_unit(one: Contender) -> str:
    """Currency and unit of a contender's price."""
    return f"{one.offer.currency} per {one.offer.unit.replace('_', '-')}"


def at_price(one: Contender, price: float, now: Conditions) -> Contender | None:
    """The contender planned again with its offer at another price."""
    offer = one.offer.model_copy(update={"price": price})
    return contender(one.front, offer, one.tenure, now)


def break_evens(ranked: list[Contender], now: Conditions) -> list[BreakEven]:
    """Where decisions flip: every loser's price at which it wins, the winner's at which it loses, and rent or buy.

    Losers are held against the winner, and against the best that is paid for in the same way; renting against buying
    the same hardware by price, by utilisation and by months of use.
    """
    winner = ranked[0]
    found = [_price_flip(loser, winner.cost_usd, winner, loser, now) for loser in ranked[1:]]
    if len(ranked) > 1:
        found.append(_price_flip(winner, ranked[1].cost_usd, winner, ranked[1], now))
    for tenure in dict.fromkeys(one.tenure for one in ranked):
        first, *others = (one for one in ranked if one.tenure == tenure)
        if first is not winner:
            found.extend(_price_flip(loser, first.cost_usd, first, loser, now) for loser in others)
    for hardware in dict.fromkeys(one.hardware for one in ranked):
        by_tenure = {one.tenure: one for one in ranked if one.hardware == hardware}
        if "buy" in by_tenure and "rent" in by_tenure:
            rent, buy = by_tenure["rent"], by_tenure["buy"]
            first, second = (rent, buy) if rent.cost_usd <= buy.cost_usd else (buy, rent)
            found.append(_price_flip(rent, buy.cost_usd, first, second, now))
            found.extend(_rent_or_buy(rent, buy, now))
    return list(dict.fromkeys(found))


def _price_flip(one: Contender, target: float, winner: Contender, other: Contender, now: Conditions) -> BreakEven:
    """The price at which a contender, planned again, costs ``target``."""
    flips = _price_for(one, target, now)
    return BreakEven(f"price of {one.offer.name}", price_unit(one), one.offer.price, flips, label(winner), label(other))


def _price_for(one: Contender, target: float, now: Conditions) -> float | None:
    """Bisection: the cost of the best plan grows with the price, continuously."""

    def cost(price: float) -> float:
        best = at_price(one, price, now)
        return math.inf if best is None else best.cost_usd

    low, high = one.offer.price * 1e-9, one.offer.price
    if cost(low) > target:
        return None
    while cost(high) < target:
        low, high = high, high * 2
        if high > one.offer.price * 1e6:
            return None
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        if cost(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _rent_or_buy(rent: Contender, buy: Contender, now: Conditions) -> list[BreakEven]:
    """At what use, and after how many months, the bought cluster is cheaper than renting as many servers.

    The bought cluster of the plan is kept; the rent is that of the same servers.
    """
    if buy.owned is None:
        return []
    servers = buy.front.servers[buy.place]
    # What one hour of the same servers and their storage costs to rent.
    hourly_rent = np.asarray((rent.cost["rent"] + rent.cost["storage"]) / (rent.days * 24.0))
    hourly_rent = hourly_rent * servers / rent.front.servers[rent.place]
    whole = replace(buy.owned, terms=replace(now.terms, charge="pro-rata", utilisation=1.0))
    bill = whole.bill(buy.values, np.ones(()))
    in_use = bill["electricity"]
    always = sum(bill.values(), start=np.zeros(())) - in_use
    use = float(break_even_utilisation(always * 8760.0, in_use, hourly_rent))
    capital = sum(buy.owned.capital_usd(buy.values).values(), start=np.zeros(()))
    running = sum(whole.running_usd(buy.values).values(), start=np.zeros(()))
    months = float(break_even_months(capital, running, hourly_rent))
    ends = label(rent), label(buy)
    return [
        BreakEven(
            f"utilisation of bought {buy.hardware}",
            "share of time",
            now.terms.utilisation,
            use if use <= 1 else None,
            *ends,
        ),
        BreakEven(
            f"months of continuous use of {buy.hardware}, purchase charged in full",
            "months",
            buy.days / (365.0 / 12.0),
            months if math.isfinite(months) else None,
            *ends,
        ),
    ]


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
    assumed = now.catalog.assumption
    rows: list[tuple[str, float, float, Change]] = [
        ("MFU (relative)", 1 - SWING, 1 + SWING, lambda c, x: replace(c, slowdown=c.slowdown / x)),
        ("tokens (relative)", 1 - SWING, 1 + SWING, _tokens),
        ("electricity-usd-per-kwh", 0.056, 0.1729, _assume("electricity-usd-per-kwh")),
        ("depreciation-years", 3.0, 6.0, _assume("depreciation-years")),
    ]
    if now.job.goodput is None:
        kinds = (front.site.accelerator for front in found)
        intervals = ((rate.told, rate.told.interval) for rate in failure_rates(kinds, now.catalog))
        rows += [(told.name, *ends, _restate(told)) for told, ends in intervals if ends is not None]
    if now.job.recovery == "manual" and now.job.goodput is None:
        seconds, teams = assumed("manual-restart-s"), math.exp(NORMAL_95 * assumed("manual-restart-log-sigma"))
        rows.append(("manual-restart-s", seconds / teams, seconds * teams, _assume("manual-restart-s")))
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


@dataclass(frozen=True)
class Outcome:
    """What the draws say about one contender (bounds hold 90%).

    Attributes:
        wins: share of draws in which it is the cheapest.
        cost_usd, days: 5%, 50% and 95% points.
        p_deadline: share of draws that end by the deadline.
    """

    wins: float
    cost_usd: tuple[float, float, float]
    days: tuple[float, float, float]
    p_deadline: float


Range = tuple[float, float]


def check_ranges(ranges: Mapping[str, Range], catalog: Catalog, ranked: list[Contender]) -> None:
    """Refuse ranges that mean nothing.

    Raises:
        UsageError: a range is upside down, not finite, or not above zero.
        UnknownNameError: it names nothing that a bill reads.
    """
    kinds = [one.front.site.accelerator for one in ranked]
    known = {*catalog.assumptions, *(f"price:{one.offer.name}" for one in ranked), "mfu"}
    known |= {STATED, *(rate.told.name for rate in failure_rates(kinds, catalog))}
    known |= {f"fx:{code}" for code in catalog.currencies}
    for name, (low, high) in ranges.items():
        if name not in known:
            raise UnknownNameError(unknown_name("range", name, known))
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise UsageError(f"--range {name}: {low:g} to {high:g} is upside down or not finite; give LOW:HIGH")
        if low < 0 or (low == 0 and re.split("[:.]", name)[0] in {"price", "fx", "mfu", STATED}):
            raise UsageError(f"--range {name}: {low:g} is not a possible value")


def monte_carlo(
    ranked: list[Contender],
    now: Conditions,
    ranges: Mapping[str, Range],
    *,
    draws: int,
    seed: int,
    model_error: bool = True,
) -> list[Outcome]:
    """Costs and days of the contenders' plans under drawn prices, rates, speeds and failures.

    Ranges are uniform and independent. The error of the step time is one draw per hardware (its offers share it). So is
    the luck with failures. The failure rate is drawn from its distribution, a part of it once for all hardware: the
    team's (:class:`~optimizer.failure_rates.FailureRate`). The plans stay as they are: one decides before one knows.

    Args:
        ranked: contenders of :func:`~optimizer.contenders.contenders`.
        now: for deadline and catalog.
        ranges: LOW, HIGH by ``price:OFFER`` (in the offer's currency), ``fx:CODE``, ``mfu`` (relative), or an
            assumption's name; ``accelerator-hours-per-failure``, of all or with ``.FAMILY``, replaces the drawn rate.
        draws: how many.
        seed: of the generator; the same seed gives the same answer.
        model_error: False leaves out the errors of step time, failure rate and luck.

    Raises:
        UsageError, UnknownNameError: see :func:`check_ranges`.
    """
    check_ranges(ranges, now.catalog, ranked)
    if draws < 1:
        raise UsageError(f"--draws must be at least 1, not {draws}")
    generator = np.random.default_rng(seed)
    drawn = {name: generator.uniform(*ranges[name], size=draws) for name in sorted(ranges)}
    names = sorted({one.hardware for one in ranked})
    step = {name: generator.standard_normal(draws) for name in names}
    luck = {name: generator.standard_normal(draws) for name in names}
    team = generator.standard_normal(draws)
    kinds = sorted({one.front.site.accelerator.family for one in ranked})
    kind = {name: generator.standard_normal(draws) for name in kinds}
    costs, days = [], []
    for one in ranked:
        accelerator = one.front.site.accelerator
        rate = failure_rate(accelerator, now.catalog)
        own = math.sqrt(max(rate.log_sigma**2 - rate.team_log_sigma**2, 0.0))
        error = rate.team_log_sigma * team + own * kind[accelerator.family]
        hours = drawn.get(rate.told.name, drawn.get(STATED, rate.hours * np.exp(error * model_error)))
        error = one.step_sigma * step[one.hardware] + one.luck_log_sigma * luck[one.hardware]
        took = one.days * one.delay(hours, rate.hours) * np.exp(error * model_error) / drawn.get("mfu", np.ones(draws))
        values = dict(one.values) | {name: value for name, value in drawn.items() if name in one.values}
        values["price"] = drawn.get(f"price:{one.offer.name}", one.values["price"])
        values["fx"] = drawn.get(f"fx:{one.offer.currency.lower()}", one.values["fx"])
        costs.append(_sum(one.bill(values, took), draws))
        days.append(took)
    cheapest = np.argmin(np.stack(costs), axis=0)
    return [
        Outcome(
            wins=float((cheapest == place).mean()),
            cost_usd=_quantiles(cost),
            days=_quantiles(took),
            p_deadline=float((took * DAY_S <= now.job.deadline_s).mean()),
        )
        for place, (cost, took) in enumerate(zip(costs, days, strict=True))
    ]


def _sum(parts: Mapping[str, Column], draws: int) -> Column:
    return np.broadcast_to(sum(parts.values(), start=np.zeros(())), (draws,))


def _quantiles(values: Column) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
