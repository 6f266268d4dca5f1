"""Tables of generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures.

    >>> print(markdown_table(["", "rows"], [["dense", "7"]]))
    |  | rows |
    | --- | ---: |
    | dense | 7 |
    """
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
