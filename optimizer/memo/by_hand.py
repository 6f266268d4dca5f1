"""Sizing by hand beside the plans of a memo."""

from __future__ import annotations

from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import label
from optimizer.memo.parts import Table
from optimizer.memo.wording import Language, say


def thumb_lines(c: Comparison) -> list[str]:
    """How sizing by hand and the plan differ, in words."""
    if not c.thumbs:
        return []
    return [
        "By hand: 6·parameters·tokens over peak and an assumed MFU, whole replicas, 5% more, a power of two.",
        "The plan predicts the MFU of the best layout, takes failures as lost time (goodput) and spare servers instead "
        "of more workers, and buys no more than the deadline needs.",
    ]


def thumbs(c: Comparison, language: Language) -> Table:
    """The steps of sizing by hand, and the same figures of the plans."""
    names = ("choice", "MFU", "needed", "whole replicas", "with redundancy", "cluster", "servers", "days")
    rows = [
        [
            f"{hardware} ({say('assumed', language)})",
            f"{one.mfu:.0%}",
            f"{one.accelerators:,}",
            f"{one.whole_replicas:,}",
            f"{one.with_redundancy:,}",
            f"{one.cluster:,}",
            f"{one.servers:,}",
            f"{one.days:.1f}",
        ]
        for hardware, one in c.thumbs.items()
    ]
    for one in c.ranking:
        plan = one.best
        accelerators = f"{plan.accelerators:,}"
        rows.append(
            [
                f"{say(label(one), language)} ({say('plan', language)})",
                f"{plan.mfu:.1%}",
                accelerators,
                accelerators,
                f"{accelerators} / {one.goodput:.1%}",
                accelerators,
                f"{plan.servers:,}",
                f"{plan.days:.1f}",
            ]
        )
    return Table([say(name, language) for name in names], rows)


def bridges(c: Comparison, language: Language) -> Table:
    """Each difference between the sizing by hand and the plans as a factor; the last column is their product."""
    names = ("choice", "by hand", "exact FLOPs", "MFU as predicted", "failures", "days left over", "plan")
    rows = []
    for one in c.ranking:
        found = c.bridge(one)
        if found is not None:
            factors = (found.flops, found.mfu, found.goodput, found.date)
            told = [say(label(one), language), f"{found.by_hand:,.0f}", *(f"× {factor:.3f}" for factor in factors)]
            rows.append([*told, f"= {found.plan:,}"])
    return Table([say(name, language) for name in names], rows)
