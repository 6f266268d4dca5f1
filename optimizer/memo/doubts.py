"""What a memo says of doubt: what would flip the decision, and what moves the cost."""

from __future__ import annotations

from optimizer.comparison.comparison import Comparison
from optimizer.comparison.tornado import Bar
from optimizer.memo.parts import Table
from optimizer.memo.wording import Language, figure, money, say

UNMOVED_TOLD = 12
"""Most parameters without effect that are named."""


def flips(c: Comparison, language: Language) -> Table:
    """At what value of which parameter another choice wins."""
    never = say("never", language)
    return Table(
        [say(name, language) for name in ("parameter", "unit", "now", "flips at", "from", "to")],
        [
            [
                say(one.parameter, language),
                say(one.unit, language),
                figure(one.current),
                never if one.flips_at is None else figure(one.flips_at),
                say(one.winner_from, language),
                say(one.winner_to, language),
            ]
            for one in c.break_even
        ],
    )


def moves(c: Comparison, language: Language) -> Table:
    """The cost of the cheapest choice with every parameter low and high, as far as it moves."""
    names = ("parameter", "low", "high", "cost at low", "cost at high", "winner at low", "winner at high")
    moving = [bar for bar in c.tornado if not _moves_nothing(bar)]
    return Table(
        [say(name, language) for name in names],
        [
            [
                say(bar.parameter, language),
                figure(bar.low),
                figure(bar.high),
                money(c, language, bar.cost_low_usd),
                money(c, language, bar.cost_high_usd),
                say(bar.winner_low, language),
                say(bar.winner_high, language),
            ]
            for bar in moving
        ],
        [abs(bar.cost_high_usd - bar.cost_low_usd) for bar in moving],
        tuple(money(c, language, abs(bar.cost_high_usd - bar.cost_low_usd)) for bar in moving),
    )


def unmoved(c: Comparison, language: Language) -> list[str]:
    """What was varied without any effect, in one line."""
    still = [say(bar.parameter, language) for bar in c.tornado if _moves_nothing(bar)]
    if not still:
        return []
    more = len(still) - UNMOVED_TOLD
    told = ", ".join(still[:UNMOVED_TOLD]) + (f", + {more}" if more > 0 else "")
    return [f"{say('Without effect on the cheapest choice', language)}: {told}"]


def _moves_nothing(bar: Bar) -> bool:
    return bar.cost_low_usd == bar.cost_high_usd and bar.winner_low == bar.winner_high
