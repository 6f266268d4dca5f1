"""Where decisions flip: the price, utilisation or months at which another choice becomes as cheap."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from costmodels.finance import break_even_months, break_even_utilisation
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender, contender, label
from optimizer.comparison.contenders import offered
from optimizer.comparison.fronts import Front

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


def price_unit(one: Contender) -> str:
    """Currency and unit of a contender's price."""
    return f"{one.offer.currency} per {one.offer.unit.replace('_', '-')}"


def at_price(one: Contender, price: float, now: Conditions) -> Contender | None:
    """The contender planned again with its offer at another price."""
    offer = one.offer.model_copy(update={"price": price})
    return contender(one.front, offer, one.tenure, now)


def break_evens(ranked: list[Contender], fronts: list[Front], now: Conditions) -> list[BreakEven]:
    """Where decisions flip: every loser's price at which it wins, the winner's at which it loses, and rent or buy.

    Losers are held against the winner, and against the best that is paid for in the same way; renting against buying
    the same hardware by price, by utilisation and by months of use. A choice does not lose by the price of one offer
    where the next offer of the same choice still wins.
    """
    winner = ranked[0]
    leading = {one.offer.name for one in ranked}
    rest = [one for one in offered(fronts, now) if one.offer.name not in leading]
    found = [_price_flip(loser, winner.cost_usd, winner, loser, now) for loser in ranked[1:]]

    def loses(one: Contender, to: Contender) -> BreakEven:
        flip = _price_flip(one, to.cost_usd, one, to, now)
        still = any(label(next_one) == label(one) and next_one.cost_usd < to.cost_usd for next_one in rest)
        return replace(flip, flips_at=None) if still else flip

    if len(ranked) > 1:
        found.append(loses(winner, ranked[1]))
    for tenure in dict.fromkeys(one.tenure for one in ranked):
        first, *others = (one for one in ranked if one.tenure == tenure)
        if first is not winner:
            found.extend(_price_flip(loser, first.cost_usd, first, loser, now) for loser in others)
    for hardware in dict.fromkeys(one.hardware for one in ranked):
        by_tenure = {one.tenure: one for one in ranked if one.hardware == hardware}
        if "buy" in by_tenure and "rent" in by_tenure:
            rent, buy = by_tenure["rent"], by_tenure["buy"]
            found.append(
                loses(rent, buy) if rent.cost_usd <= buy.cost_usd else _price_flip(rent, buy.cost_usd, buy, rent, now)
            )
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

    A use above all the time is never, and so are months beyond the years over which the equipment is written off.
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
    lasts = 12.0 * now.catalog.assumption("depreciation-years")
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
            months if months <= lasts else None,
            *ends,
        ),
    ]
