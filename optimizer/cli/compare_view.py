"""A comparison as tables for people."""

from __future__ import annotations

from optimizer.cli.output import print_line, print_table
from optimizer.comparison.comparison import Comparison
from optimizer.memo.memo import memo_sections
from optimizer.memo.parts import Section

SHOWN = 5
"""Sections printed in the terminal; the memo has all of them."""


def show_comparison(comparison: Comparison) -> None:
    """Print the conclusion and the tables of the memo's first sections."""
    sections: list[Section] = memo_sections(comparison)
    for section in sections[:SHOWN]:
        for line in section.lines:
            print_line(line)
        for table in section.tables:
            print_table(table.columns, table.rows, title=section.title)
    print_line("What moves the cost, risks, refusals and assumptions with their sources: --report FILE.html or --json")
