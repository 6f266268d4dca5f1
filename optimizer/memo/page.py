"""A memo as one self-contained HTML page, which needs no network and no script."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from optimizer.memo.parts import Section
from optimizer.memo.wording import Language

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #d8dee4; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: #f6f8fa; } svg { display: block; margin: .5rem 0; } h2 { margin-top: 2rem; }
"""


def page(title: str, sections: Sequence[Section], language: Language) -> str:
    """Sections as HTML."""
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
