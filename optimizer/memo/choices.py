"""The choices of a memo side by side: plans, bills, clusters."""

from __future__ import annotations

from optimizer.comparison.comparison import Comparison
from optimizer.memo.parts import Table
from optimizer.memo.wording import Language, money, name, say, tonnes


def choices(c: Comparison, language: Language) -> Table:
    """Every choice with its plan."""
    plans = ("choice", "offer", "accelerators", "servers", "days", "P(deadline)", "MFU", "memory headroom")
    costs = ("cost", "90% of costs", "P(cheapest)", "per 1T tokens", "per 10²¹ FLOP", "layout")
    best = [one.best for one in c.ranking]
    return Table(
        [say(heading, language) for heading in (*plans, *costs)],
        [
            [
                name(one, language),
                one.offer.name,
                f"{plan.accelerators:,}",
                f"{plan.servers:,}",
                f"{plan.days:.1f}",
                "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}",
                f"{plan.mfu:.1%}",
                f"{1 - plan.memory_bytes / plan.capacity_bytes:.0%}",
                money(c, language, one.cost_usd),
                f"{money(c, language, outcome.cost_usd[0])} – {money(c, language, outcome.cost_usd[2])}",
                f"{outcome.wins:.0%}",
                money(c, language, c.unit_costs(one)["per_1t_tokens_usd"]),
                money(c, language, c.unit_costs(one)["per_zettaflop_usd"]),
                f"tp{plan.layout.tp} pp{plan.layout.pp} dp{plan.layout.dp} cp{plan.layout.cp} ep{plan.layout.ep}",
            ]
            for one, plan, outcome in zip(c.ranking, best, c.outcomes, strict=True)
        ],
        [one.cost_usd for one in c.ranking],
        tuple(money(c, language, one.cost_usd) for one in c.ranking),
    )


def bill(c: Comparison, language: Language) -> Table:
    """The components of every choice's cost."""
    parts = list(dict.fromkeys(part for one in c.ranking for part in one.cost))
    return Table(
        [say("component", language), *(name(one, language) for one in c.ranking)],
        [
            [
                say(part, language),
                *(f"{c.amount(one.cost[part]):,.2f}" if part in one.cost else "" for one in c.ranking),
            ]
            for part in parts
        ]
        + [[say("total", language), *(f"{c.amount(one.cost_usd):,.2f}" for one in c.ranking)]],
    )


def clusters(c: Comparison, language: Language) -> Table:
    """What has to be built around the accelerators of every choice."""
    rows = []
    for one in c.ranking:
        site = one.owned.site if one.owned else None
        theirs = say("the provider's", language)
        tree = site.network if site else None
        held, bandwidth = one.storage
        rows.append(
            [
                name(one, language),
                f"{one.goodput:.1%}",
                theirs
                if tree is None
                else f"{int(tree.tiers)}: {int(tree.leaves)} + {int(tree.spines)} + {int(tree.cores)}",
                theirs if tree is None else f"{int(tree.cables):,}",
                theirs if site is None else f"{int(site.spares)}",
                f"{held / 1e15:.2f} PB, {bandwidth / 1e9:.0f} GB/s",
                theirs if site is None else f"{float(site.power_w) / 1e6:.2f} MW",
                theirs if site is None else f"{int(site.racks)}",
                f"{one.energy_kwh / 1e6:.2f} GWh",
                tonnes(c.carbon_kg(one)),
            ]
        )
    names = ("choice", "goodput", "network", "cables", "spares", "storage", "power", "racks", "energy", "carbon")
    return Table([say(name, language) for name in names], rows)
