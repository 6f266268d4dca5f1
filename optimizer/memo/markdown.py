"""A memo as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.memo.parts import Section


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Sections as Markdown."""
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
