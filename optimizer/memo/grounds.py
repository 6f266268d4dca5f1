"""What the figures of a memo rest on: regions, assumptions, prices."""

from __future__ import annotations

from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import label
from optimizer.memo.chinese import assumption_in_chinese
from optimizer.memo.parts import Table
from optimizer.memo.wording import Language, figure, money, say, tonnes


def regions(c: Comparison, language: Language) -> Table:
    """Carbon of every choice and electricity of the bought ones, by region."""
    bought = [place for place, one in enumerate(c.ranking) if one.owned]
    columns = [say(name, language) for name in ("region", "USD per kWh", "kg CO2 per kWh")]
    columns += [f"{say('carbon', language)} {say(label(one), language)}" for one in c.ranking]
    columns += [f"{say('electricity', language)} {c.ranking[place].hardware}" for place in bought]
    rows = []
    for region in c.regions():
        choices, carbon = region["choices"], region["carbon_kg_per_kwh"]
        rows.append(
            [region["name"], f"{region['electricity_usd_per_kwh']:.4f}", "-" if carbon is None else f"{carbon:g}"]
            + [tonnes(one["carbon_kg"]) for one in choices]
            + [money(c, language, choices[place]["electricity_usd"]) for place in bought]
        )
    return Table(columns, rows)


def assumptions(c: Comparison, language: Language) -> Table:
    """Every assumption, price and rate, with its date and source."""
    yes = say("yes", language)
    return Table(
        [say(name, language) for name in ("name", "value", "unit", "estimated", "date", "source")],
        [
            [
                name,
                one["value"] if isinstance(one["value"], str) else figure(one["value"], one["interval"]),
                unit,
                yes if one["estimated"] else "",
                one["date"],
                one["source"],
            ]
            for one in c.assumptions()
            for name, unit in [
                assumption_in_chinese(one["name"], one["unit"]) if language == "zh" else (one["name"], one["unit"])
            ]
        ],
    )
