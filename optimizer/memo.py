"""The decision memo: a comparison as one self-contained page (HTML) or as Markdown, in English or Chinese."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from costmodels.run import DAY_S
from optimizer.compare import NOT_MODELLED, SURE, Comparison
from optimizer.contenders import Contender
from optimizer.memo_zh import amount_in_chinese, assumption_in_chinese, in_chinese
from optimizer.sensitivity import Bar, label

Language = Literal["en", "zh"]

UNMOVED_TOLD = 12
"""Most parameters without effect that are named."""


@dataclass(frozen=True)
class Table:
    """Cells as text; ``bars`` are drawn above the table.

    Attributes:
        columns: headings.
        rows: cells.
        bars: one value per row, or None.
        texts: what stands at each bar.
    """

    columns: list[str]
    rows: list[list[str]]
    bars: list[float] | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading, sentences, tables.

    Attributes:
        title: the heading.
        lines: sentences.
        tables: tables.
    """

    title: str
    lines: list[str]
    tables: list[Table]


def memo(comparison: Comparison, *, form: Literal["html", "md"], language: Language = "en") -> str:
    """The memo as text; the HTML needs no network and no script."""
    sections = memo_sections(comparison, language)
    title = f"{_say('Decision memo', language)}: {comparison.now.job.model.name}"
    return _html(title, sections, language) if form == "html" else _markdown(title, sections)


def _say(text: str, language: Language) -> str:
    return in_chinese(text) if language == "zh" else text


def _money(c: Comparison, language: Language, usd: float) -> str:
    """An amount in the currency of the report."""
    if language == "zh" and math.isfinite(usd):
        return amount_in_chinese(c.sign, c.amount(usd))
    return c.money(usd)


def _quoted(text: str, language: Language) -> str:
    """A sentence of the catalog or the plan: in Chinese, one without a translation is marked as original words."""
    said = _say(text, language)
    return f"原文:{text}" if language == "zh" and said == text and re.search(r"[a-z]{2,} [a-z]{2,}", text) else said


def memo_sections(c: Comparison, language: Language = "en") -> list[Section]:
    """The memo's sections, conclusion first."""

    def t(*texts: str) -> list[str]:
        return [_say(text, language) for text in texts]

    def name(one: Contender) -> str:
        return f"{one.hardware} {_say(one.tenure, language)}"

    best = [one.best for one in c.ranking]
    choices = Table(
        t("choice", "offer", "accelerators", "servers", "days", "P(deadline)", "MFU", "memory headroom")
        + t("cost", "90% of costs", "P(cheapest)", "per 1T tokens", "per 10²¹ FLOP", "layout"),
        [
            [
                name(one),
                one.offer.name,
                f"{plan.accelerators:,}",
                f"{plan.servers:,}",
                f"{plan.days:.1f}",
                "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}",
                f"{plan.mfu:.1%}",
                f"{1 - plan.memory_bytes / plan.capacity_bytes:.0%}",
                _money(c, language, one.cost_usd),
                f"{_money(c, language, outcome.cost_usd[0])} – {_money(c, language, outcome.cost_usd[2])}",
                f"{outcome.wins:.0%}",
                _money(c, language, c.unit_costs(one)["per_1t_tokens_usd"]),
                _money(c, language, c.unit_costs(one)["per_zettaflop_usd"]),
                f"tp{plan.layout.tp} pp{plan.layout.pp} dp{plan.layout.dp} cp{plan.layout.cp} ep{plan.layout.ep}",
            ]
            for one, plan, outcome in zip(c.ranking, best, c.outcomes, strict=True)
        ],
        [one.cost_usd for one in c.ranking],
        tuple(_money(c, language, one.cost_usd) for one in c.ranking),
    )
    parts = list(dict.fromkeys(part for one in c.ranking for part in one.cost))
    bill = Table(
        [*t("component"), *(name(one) for one in c.ranking)],
        [
            [
                _say(part, language),
                *(f"{c.amount(one.cost[part]):,.2f}" if part in one.cost else "" for one in c.ranking),
            ]
            for part in parts
        ]
        + [[_say("total", language), *(f"{c.amount(one.cost_usd):,.2f}" for one in c.ranking)]],
    )
    return [
        Section(_say("Conclusion", language), _conclusion(c, language), []),
        Section(_say("Choices", language), [], [choices]),
        Section(f"{_say('Bill of each choice', language)} ({c.currency})", [], [bill]),
        Section(_say("Clusters", language), [], [_clusters(c, language)]),
        Section(_say("What would flip the decision", language), [], [_flips(c, language)]),
        Section(_say("What moves the cost", language), _unmoved(c, language), [_moves(c, language)]),
        Section(
            _say("Sizing by hand, and why the plan differs", language),
            [_say(line, language) for line in _thumb_lines(c)],
            [_thumbs(c, language), _bridges(c, language)],
        ),
        Section(_say("Energy and carbon by region", language), [], [_regions(c, language)]),
        Section(
            _say("Risks", language),
            [f"{name(one)}: {_quoted(risk, language)}" for one in c.ranking for risk in c.risks(one)],
            [],
        ),
        Section(
            _say("Not considered, and why", language),
            [],
            [
                Table(
                    t("what", "reason"),
                    [[_say(one.what, language), _quoted(one.reason, language)] for one in c.refused],
                )
            ],
        ),
        Section(
            _say("Assumptions", language),
            [_quoted(said, language) for said in c.now.job.assumptions],
            [_assumptions(c, language)],
        ),
        Section(_say("Not modelled", language), [_say(said, language) for said in NOT_MODELLED], []),
    ]


def _conclusion(c: Comparison, language: Language) -> list[str]:
    winner, odds = c.winner, c.outcomes[0].wins
    plan, job = winner.best, c.now.job
    limit = f"{job.deadline_s / DAY_S:g}" if math.isfinite(job.deadline_s) else None
    in_time = "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}"
    runner = c.ranking[1] if len(c.ranking) > 1 else None
    if language == "zh":
        lines = [
            f"训练 {job.model.name}({_count(job.tokens)} 词元{f',{limit} 天内' if limit else ''})最省的方案是"
            f"{_say(winner.tenure, language)} {winner.hardware}:{plan.accelerators:,} 卡、{plan.servers:,} 台服务器,"
            f"{plan.days:.1f} 天完成(按期概率 {in_time}),成本 {_money(c, language, winner.cost_usd)},"
            f"最省概率 {odds:.0%}。"
        ]
        if runner is not None:
            lines.append(
                f"次优:{_say(runner.tenure, language)} {runner.hardware},{_money(c, language, runner.cost_usd)}。"
            )
        if c.surer is not None:
            sure = c.surer.best
            lines.append(
                f"上述方案按期把握不足。若要求按期概率 {SURE:.0%}:{_say(c.surer.tenure, language)} {c.surer.hardware} "
                f"{sure.accelerators:,} 卡,{sure.days:.1f} 天,{_money(c, language, c.surer.cost_usd)}。"
            )
        elif math.isfinite(job.deadline_s) and (plan.p_deadline or 0.0) < SURE:
            lines.append(f"没有方案能以 {SURE:.0%} 的概率按期完成。")
        return lines
    lines = [
        f"{winner.tenure.capitalize()} {winner.hardware}: {plan.accelerators:,} accelerators in {plan.servers:,} "
        f"servers train {job.model.name} on {_count(job.tokens)} tokens in {plan.days:.1f} days"
        f"{f' of {limit}' if limit else ''} (P(deadline) {in_time}) for {_money(c, language, winner.cost_usd)}; "
        f"the cheapest choice with probability {odds:.0%}."
    ]
    if runner is not None:
        lines.append(
            f"Next: {label(runner)} for {c.money(runner.cost_usd)}, {runner.cost_usd / winner.cost_usd - 1:.0%} more."
        )
    if c.surer is not None:
        sure = c.surer.best
        lines.append(
            f"The date is not safe with that. To meet it with {SURE:.0%} (--confidence {SURE:.0%}): {c.surer.tenure} "
            f"{sure.accelerators:,} {c.surer.hardware} for {c.money(c.surer.cost_usd)}, {sure.days:.1f} days."
        )
    elif math.isfinite(job.deadline_s) and (plan.p_deadline or 0.0) < SURE:
        lines.append(f"No choice meets the date with {SURE:.0%}.")
    return lines


def _clusters(c: Comparison, language: Language) -> Table:
    rows = []
    for one in c.ranking:
        site = one.owned.site if one.owned else None
        theirs = _say("the provider's", language)
        tree = site.network if site else None
        held, bandwidth = one.storage
        rows.append(
            [
                f"{one.hardware} {_say(one.tenure, language)}",
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
                _tonnes(c.carbon_kg(one)),
            ]
        )
    names = ("choice", "goodput", "network", "cables", "spares", "storage", "power", "racks", "energy", "carbon")
    return Table([_say(name, language) for name in names], rows)


def _tonnes(kg: float | None) -> str:
    return "-" if kg is None else f"{kg / 1e3:,.0f} t"


def _regions(c: Comparison, language: Language) -> Table:
    """Carbon of every choice and electricity of the bought ones, by region."""
    bought = [place for place, one in enumerate(c.ranking) if one.owned]
    columns = [_say(name, language) for name in ("region", "USD per kWh", "kg CO2 per kWh")]
    columns += [f"{_say('carbon', language)} {_say(label(one), language)}" for one in c.ranking]
    columns += [f"{_say('electricity', language)} {c.ranking[place].hardware}" for place in bought]
    rows = []
    for region in c.regions():
        choices, carbon = region["choices"], region["carbon_kg_per_kwh"]
        rows.append(
            [region["name"], f"{region['electricity_usd_per_kwh']:.4f}", "-" if carbon is None else f"{carbon:g}"]
            + [_tonnes(one["carbon_kg"]) for one in choices]
            + [_money(c, language, choices[place]["electricity_usd"]) for place in bought]
        )
    return Table(columns, rows)


def _flips(c: Comparison, language: Language) -> Table:
    never = _say("never", language)
    return Table(
        [_say(name, language) for name in ("parameter", "unit", "now", "flips at", "from", "to")],
        [
            [
                _say(one.parameter, language),
                _say(one.unit, language),
                _figure(one.current),
                never if one.flips_at is None else _figure(one.flips_at),
                _say(one.winner_from, language),
                _say(one.winner_to, language),
            ]
            for one in c.break_even
        ],
    )


def _moves(c: Comparison, language: Language) -> Table:
    names = ("parameter", "low", "high", "cost at low", "cost at high", "winner at low", "winner at high")
    moving = [bar for bar in c.tornado if not _moves_nothing(bar)]
    return Table(
        [_say(name, language) for name in names],
        [
            [
                _say(bar.parameter, language),
                _figure(bar.low),
                _figure(bar.high),
                _money(c, language, bar.cost_low_usd),
                _money(c, language, bar.cost_high_usd),
                _say(bar.winner_low, language),
                _say(bar.winner_high, language),
            ]
            for bar in moving
        ],
        [abs(bar.cost_high_usd - bar.cost_low_usd) for bar in moving],
        tuple(_money(c, language, abs(bar.cost_high_usd - bar.cost_low_usd)) for bar in moving),
    )


def _moves_nothing(bar: Bar) -> bool:
    return bar.cost_low_usd == bar.cost_high_usd and bar.winner_low == bar.winner_high


def _unmoved(c: Comparison, language: Language) -> list[str]:
    """What was varied without any effect, in one line."""
    still = [_say(bar.parameter, language) for bar in c.tornado if _moves_nothing(bar)]
    if not still:
        return []
    more = len(still) - UNMOVED_TOLD
    told = ", ".join(still[:UNMOVED_TOLD]) + (f", + {more}" if more > 0 else "")
    return [f"{_say('Without effect on the cheapest choice', language)}: {told}"]


def _thumbs(c: Comparison, language: Language) -> Table:
    names = ("choice", "MFU", "needed", "whole replicas", "with redundancy", "cluster", "servers", "days")
    rows = [
        [
            f"{hardware} ({_say('assumed', language)})",
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
                f"{_say(label(one), language)} ({_say('plan', language)})",
                f"{plan.mfu:.1%}",
                accelerators,
                accelerators,
                f"{accelerators} / {one.goodput:.1%}",
                accelerators,
                f"{plan.servers:,}",
                f"{plan.days:.1f}",
            ]
        )
    return Table([_say(name, language) for name in names], rows)


def _bridges(c: Comparison, language: Language) -> Table:
    """Each difference between the sizing by hand and the plans as a factor; the last column is their product."""
    names = ("choice", "by hand", "exact FLOPs", "MFU as predicted", "failures", "days left over", "plan")
    rows = []
    for one in c.ranking:
        found = c.bridge(one)
        if found is not None:
            factors = (found.flops, found.mfu, found.goodput, found.date)
            told = [_say(label(one), language), f"{found.by_hand:,.0f}", *(f"× {factor:.3f}" for factor in factors)]
            rows.append([*told, f"= {found.plan:,}"])
    return Table([_say(name, language) for name in names], rows)


def _thumb_lines(c: Comparison) -> list[str]:
    if not c.thumbs:
        return []
    return [
        "By hand: 6·parameters·tokens over peak and an assumed MFU, whole replicas, 5% more, a power of two.",
        "The plan predicts the MFU of the best layout, takes failures as lost time (goodput) and spare servers instead "
        "of more workers, and buys no more than the deadline needs.",
    ]


def _assumptions(c: Comparison, language: Language) -> Table:
    yes = _say("yes", language)
    return Table(
        [_say(name, language) for name in ("name", "value", "unit", "estimated", "date", "source")],
        [
            [
                name,
                one["value"] if isinstance(one["value"], str) else _figure(one["value"], one["interval"]),
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


def _count(number: float) -> str:
    """A number of tokens for people: 2T, 500B."""
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= scale:
            return f"{number / scale:.4g}{letter}"
    return f"{number:,.0f}"


def _figure(value: float, interval: list[float] | None = None) -> str:
    said = f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"
    return said if interval is None else f"{said} ({_figure(interval[0])}–{_figure(interval[1])})"


def _markdown(title: str, sections: Sequence[Section]) -> str:
    out = [f"# {title}", ""]
    for section in sections:
        out += [f"## {section.title}", ""]
        out += [f"- {line}" for line in section.lines] + [""] * bool(section.lines)
        for table in section.tables:
            out.append("| " + " | ".join(map(_cell, table.columns)) + " |")
            out.append("|" + "---|" * len(table.columns))
            out += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
            out.append("")
    return "\n".join(out).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #d8dee4; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: #f6f8fa; } svg { display: block; margin: .5rem 0; } h2 { margin-top: 2rem; }
"""


def _html(title: str, sections: Sequence[Section], language: Language) -> str:
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [f"<p>{html.escape(line)}</p>" for line in section.lines]
        for table in section.tables:
            if table.bars is not None:
                body.append(_chart([row[0] for row in table.rows], table.bars, table.texts))
            head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
            rows = "".join(
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
            )
            body.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _chart(names: Sequence[str], values: Sequence[float], texts: Sequence[str]) -> str:
    """Horizontal bars; what is infinite (nothing feasible at one end) reaches the edge."""
    finite = [value for value in values if math.isfinite(value)]
    most = max(finite, default=0.0) or 1.0
    parts = []
    for row, (name, value, text) in enumerate(zip(names, values, texts, strict=True)):
        width = 380.0 * min(value / most, 1.0)
        y = 22 * row
        parts.append(f'<text x="0" y="{y + 15}" font-size="12">{html.escape(name)}</text>')
        parts.append(f'<rect x="480" y="{y + 3}" width="{width:.1f}" height="15" fill="#4078c0"/>')
        parts.append(f'<text x="{486 + width:.1f}" y="{y + 15}" font-size="12">{html.escape(text)}</text>')
    return f'<svg viewBox="0 0 960 {22 * len(names)}" width="960" role="img">{"".join(parts)}</svg>'
