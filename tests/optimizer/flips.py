"""The check of break-even prices: one percent to either side of each, another choice wins."""

from __future__ import annotations

from dataclasses import replace

from optimizer.catalog_variant import with_offers
from optimizer.comparison.break_even import break_evens
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import label
from optimizer.comparison.contenders import contenders, offered
from optimizer.comparison.fronts import Front


def winners_flip(found: list[Front], now: Conditions, *, least: int) -> None:
    ranked, _ = contenders(found, now)
    flips = [one for one in break_evens(ranked, found, now) if one.parameter.startswith("price of") and one.flips_at]
    assert len(flips) >= least
    assert len(flips) == len(set(flips))
    for flip in flips:
        name = flip.parameter.removeprefix("price of ")
        assert flip.flips_at is not None
        # Every offer of the two choices and none of a third, which might come between them.
        offers = {
            one.offer.name: one.offer for one in offered(found, now) if label(one) in {flip.winner_from, flip.winner_to}
        }
        winners = []
        for price in (flip.flips_at * 0.99, flip.flips_at * 1.01):
            offers[name] = offers[name].model_copy(update={"price": price})
            again, _ = contenders(found, replace(now, catalog=with_offers(now.catalog, offers)))
            winners.append(label(again[0]))
        assert set(winners) == {flip.winner_from, flip.winner_to}, flip.parameter
