"""The decision memo: a comparison as one self-contained page (HTML) or as Markdown, in English or Chinese."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from costmodels.run import DAY_S
from optimizer.compare import NOT_MODELLED, Comparison
from optimizer.contenders import Contender
from optimizer.sensitivity import label

Language = Literal["en", "zh"]

_ZH = {
    "Decision memo": "采购决策备忘录",
    "Conclusion": "结论",
    "Choices": "方案对比",
    "Bill of each choice": "各方案费用明细",
    "Clusters": "集群",
    "What would flip the decision": "什么会改变结论",
    "What moves the cost": "成本敏感性",
    "Sizing by hand, and why the plan differs": "手工估算与本方案的差异",
    "Risks": "风险",
    "Not considered, and why": "未入选及原因",
    "Assumptions": "假设与来源",
    "Not modelled": "未建模内容",
    "choice": "方案",
    "offer": "报价",
    "accelerators": "加速卡",
    "servers": "服务器",
    "days": "天数",
    "P(deadline)": "按期概率",
    "MFU": "MFU",
    "memory headroom": "显存余量",
    "cost": "成本",
    "90% of costs": "成本 90% 区间",
    "P(cheapest)": "最省概率",
    "layout": "并行方式",
    "component": "项目",
    "total": "合计",
    "per 1T tokens": "每万亿词元",
    "per 10²¹ FLOP": "每 10²¹ FLOP",
    "network": "网络",
    "cables": "线缆",
    "spares": "备机",
    "power": "功率",
    "racks": "机柜",
    "storage": "存储",
    "energy": "电量",
    "carbon": "碳排放",
    "goodput": "有效时间",
    "parameter": "参数",
    "now": "当前值",
    "flips at": "翻转值",
    "from": "由",
    "to": "变为",
    "low": "低",
    "high": "高",
    "cost at low": "低值成本",
    "cost at high": "高值成本",
    "winner at low": "低值最优",
    "winner at high": "高值最优",
    "never": "不会",
    "what": "对象",
    "reason": "原因",
    "name": "名称",
    "value": "数值",
    "unit": "单位",
    "date": "日期",
    "source": "来源",
    "estimated": "估计",
    "yes": "是",
    "step": "步骤",
    "rent": "租用",
    "reserved": "预留",
    "buy": "购买",
    "the provider's": "由供应商承担",
    "needed": "所需卡数",
    "whole replicas": "凑整副本",
    "with redundancy": "加冗余",
    "cluster": "集群规模",
    "plan": "本方案",
    "assumed": "假设",
}


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
    return _ZH.get(text, text) if language == "zh" else text


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
                c.money(one.cost_usd),
                f"{c.money(outcome.cost_usd[0])} – {c.money(outcome.cost_usd[2])}",
                f"{outcome.wins:.0%}",
                c.money(c.unit_costs(one)["per_1t_tokens_usd"]),
                c.money(c.unit_costs(one)["per_zettaflop_usd"]),
                f"tp{plan.layout.tp} pp{plan.layout.pp} dp{plan.layout.dp} cp{plan.layout.cp} ep{plan.layout.ep}",
            ]
            for one, plan, outcome in zip(c.ranking, best, c.outcomes, strict=True)
        ],
        [one.cost_usd for one in c.ranking],
        tuple(c.money(one.cost_usd) for one in c.ranking),
    )
    parts = list(dict.fromkeys(part for one in c.ranking for part in one.cost))
    bill = Table(
        [*t("component"), *(name(one) for one in c.ranking)],
        [
            [part, *(f"{c.amount(one.cost[part]):,.2f}" if part in one.cost else "" for one in c.ranking)]
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
        Section(_say("What moves the cost", language), [], [_moves(c, language)]),
        Section(_say("Sizing by hand, and why the plan differs", language), _thumb_lines(c), [_thumbs(c, language)]),
        Section(_say("Risks", language), [f"{name(one)}: {risk}" for one in c.ranking for risk in c.risks(one)], []),
        Section(
            _say("Not considered, and why", language),
            [],
            [Table(t("what", "reason"), [[one.what, one.reason] for one in c.refused])],
        ),
        Section(_say("Assumptions", language), list(c.now.job.assumptions), [_assumptions(c, language)]),
        Section(_say("Not modelled", language), list(NOT_MODELLED), []),
    ]


def _conclusion(c: Comparison, language: Language) -> list[str]:
    winner, odds = c.winner, c.outcomes[0].wins
    plan, job = winner.best, c.now.job
    limit = f"{job.deadline_s / DAY_S:g}" if math.isfinite(job.deadline_s) else None
    in_time = "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}"
    runner = c.ranking[1] if len(c.ranking) > 1 else None
    if language == "zh":
        lines = [
            f"训练 {job.model.name}({job.tokens:.3g} 词元{f',{limit} 天内' if limit else ''})最省的方案是"
            f"{_say(winner.tenure, language)} {winner.hardware}:{plan.accelerators:,} 卡、{plan.servers:,} 台服务器,"
            f"{plan.days:.1f} 天完成(按期概率 {in_time}),成本 {c.money(winner.cost_usd)},最省概率 {odds:.0%}。"
        ]
        if runner is not None:
            lines.append(f"次优:{_say(runner.tenure, language)} {runner.hardware},{c.money(runner.cost_usd)}。")
        return lines
    lines = [
        f"{winner.tenure.capitalize()} {winner.hardware}: {plan.accelerators:,} accelerators in {plan.servers:,} "
        f"servers train {job.model.name} on {job.tokens:.3g} tokens in {plan.days:.1f} days"
        f"{f' of {limit}' if limit else ''} (P(deadline) {in_time}) for {c.money(winner.cost_usd)}; "
        f"the cheapest choice with probability {odds:.0%}."
    ]
    if runner is not None:
        lines.append(
            f"Next: {label(runner)} for {c.money(runner.cost_usd)}, {runner.cost_usd / winner.cost_usd - 1:.0%} more."
        )
    return lines


def _clusters(c: Comparison, language: Language) -> Table:
    carbon = c.now.catalog.assumption("carbon-kg-per-kwh")
    rows = []
    for one in c.ranking:
        site = one.owned.site if one.owned else None
        theirs = _say("the provider's", language)
        tree = site.network if site else None
        rows.append(
            [
                f"{one.hardware} {_say(one.tenure, language)}",
                f"{one.goodput:.1%}",
                theirs
                if tree is None
                else f"{int(tree.tiers)}: {int(tree.leaves)} + {int(tree.spines)} + {int(tree.cores)}",
                theirs if tree is None else f"{int(tree.cables):,}",
                theirs if site is None else f"{int(site.spares)}",
                theirs
                if site is None
                else f"{site.storage_bytes / 1e15:.2f} PB, {site.storage_bytes_per_s / 1e9:.0f} GB/s",
                theirs if site is None else f"{float(site.power_w) / 1e6:.2f} MW",
                theirs if site is None else f"{int(site.racks)}",
                f"{one.energy_kwh / 1e6:.2f} GWh",
                f"{one.energy_kwh * carbon / 1e3:,.0f} t",
            ]
        )
    names = ("choice", "goodput", "network", "cables", "spares", "storage", "power", "racks", "energy", "carbon")
    return Table([_say(name, language) for name in names], rows)


def _flips(c: Comparison, language: Language) -> Table:
    never = _say("never", language)
    return Table(
        [_say(name, language) for name in ("parameter", "unit", "now", "flips at", "from", "to")],
        [
            [
                one.parameter,
                one.unit,
                _figure(one.current),
                never if one.flips_at is None else _figure(one.flips_at),
                one.winner_from,
                one.winner_to,
            ]
            for one in c.break_even
        ],
    )


def _moves(c: Comparison, language: Language) -> Table:
    names = ("parameter", "low", "high", "cost at low", "cost at high", "winner at low", "winner at high")
    return Table(
        [_say(name, language) for name in names],
        [
            [
                bar.parameter,
                _figure(bar.low),
                _figure(bar.high),
                c.money(bar.cost_low_usd),
                c.money(bar.cost_high_usd),
                bar.winner_low,
                bar.winner_high,
            ]
            for bar in c.tornado
        ],
        [abs(bar.cost_high_usd - bar.cost_low_usd) for bar in c.tornado],
        tuple(c.money(abs(bar.cost_high_usd - bar.cost_low_usd)) for bar in c.tornado),
    )


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
                f"{label(one)} ({_say('plan', language)})",
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
                one["name"],
                one["value"] if isinstance(one["value"], str) else _figure(one["value"]),
                one["unit"],
                yes if one["estimated"] else "",
                one["date"],
                one["source"],
            ]
            for one in c.assumptions()
        ],
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.4g}"


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
