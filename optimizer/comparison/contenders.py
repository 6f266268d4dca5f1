"""The best plan of every hardware and way of paying, ranked: what ``compare`` compares."""

from __future__ import annotations

from catalogs.errors import InfeasibleError
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender, contender
from optimizer.comparison.fronts import Front
from optimizer.comparison.tenures import PAYING, TENURES
from optimizer.site import Refusal


def contenders(found: list[Front], now: Conditions) -> tuple[list[Contender], list[Refusal]]:
    """The best of every hardware and tenure under some conditions, cheapest first, and why others are not.

    Raises:
        InfeasibleError: nothing meets the job.
        UnknownNameError: an offer's currency has no rate.
    """
    ranked: list[Contender] = []
    refused: list[Refusal] = []
    for hardware in dict.fromkeys(front.hardware for front in found):
        for tenure in TENURES:
            options: list[Contender] = []
            offered = False
            for front in found:
                if front.hardware != hardware:
                    continue
                for name in front.offers:
                    offer = now.catalog.offers.get(name)
                    if offer is None or offer.tenure not in PAYING[tenure]:
                        continue
                    offered = True
                    one = contender(front, offer, tenure, now)
                    if one is not None:
                        options.append(one)
                    elif front.site.multi_server:
                        refused.append(Refusal(name, "no cluster meets the deadline and the budget"))
            if not offered:
                refused.append(Refusal(f"{hardware} {tenure}", f"not offered ({', '.join(PAYING[tenure])})"))
            options.sort(key=lambda one: (one.cost_usd, one.offer.name))
            ranked.extend(options[:1])
            refused.extend(
                Refusal(
                    f"{hardware} {tenure}: {other.offer.name}",
                    f"its best plan costs ${other.cost_usd / 1e6:,.3f}M, more than {options[0].offer.name}",
                )
                for other in options[1:]
            )
    if not ranked:
        why = "; ".join(f"{one.what}: {one.reason}" for one in refused[:6])
        raise InfeasibleError(f"nothing meets the deadline and the budget: {why}")
    ranked.sort(key=lambda one: (one.cost_usd, one.hardware, one.tenure))
    return ranked, refused


def offered(found: list[Front], now: Conditions) -> list[Contender]:
    """The best cluster with every single offer that meets the job."""
    tenure_of = {paying: tenure for tenure, kinds in PAYING.items() for paying in kinds}
    known = [(front, now.catalog.offers[name]) for front in found for name in front.offers]
    every = (contender(front, offer, tenure_of[offer.tenure], now) for front, offer in known)
    return [one for one in every if one is not None]
