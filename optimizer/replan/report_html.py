"""A night as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from optimizer.replan.history import Night
from optimizer.replan.report import flip, headline
from optimizer.replan.verdict import Verdict

STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}th,td{padding:.4rem .6rem;text-align:left;border-bottom:1px solid #ddd}
td.n{text-align:right;white-space:nowrap}tr.news td:first-child{font-weight:bold}small,footer{color:#666}"""


def page(night: Night, news: Sequence[Verdict]) -> str:
    """The whole night, what is news first and marked."""
    names = {one.job for one in news}
    ordered = [*news, *(one for one in night.verdicts if one.job not in names)]
    rows = "\n".join(_row(one, one.job in names) for one in ordered)
    heads = "".join(f"<th>{name}</th>" for name in ("Job", "Advice", "Why", "Keeping costs", "Changing costs", "Ends"))
    books = "".join(_source(one.source, one.book.date, len(one.book.quotes), one.fresh) for one in night.sources)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(headline(night, news))}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{escape(headline(night, news))}</h1>\n<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n"
        f"</tbody></table>\n{_listed('Prices', [books] if books else [])}"
        f"{_listed('Noticed', (f'<li>{escape(note)}</li>' for note in night.notes))}"
        f"<footer>clusterplan {escape(night.tool)}, inputs {escape(night.inputs[:12])}</footer></body></html>\n"
    )


def _row(one: Verdict, is_news: bool) -> str:
    why = escape(one.reason) + (f"<br><small>{escape(flip(one))}</small>" if flip(one) else "")
    cells = (f"<td>{escape(one.job)}</td>", f"<td>{escape(one.kind)}</td>", f"<td>{why}</td>")
    money = "".join(f'<td class="n">{_usd(amount)}</td>' for amount in (one.keep_usd, one.change_usd))
    opened = '<tr class="news">' if is_news else "<tr>"
    return f"{opened}{''.join(cells)}{money}<td>{escape(one.ends or '')}</td></tr>"


def _usd(amount: float | None) -> str:
    return "" if amount is None else f"${amount:,.0f}"


def _source(name: str, date: str, offers: int, fresh: bool) -> str:
    kept = "" if fresh else " (kept: the source failed)"
    return f"<li>{escape(name)}: {offers} offers of {escape(date)}{kept}</li>"


def _listed(title: str, items: Iterable[str]) -> str:
    lines = "".join(items)
    return f"<h2>{title}</h2>\n<ul>{lines}</ul>\n" if lines else ""
