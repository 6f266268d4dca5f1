"""What a memo is made of: sections of sentences and tables."""

from __future__ import annotations

from dataclasses import dataclass


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
