"""What the commands print: JSON and tables on standard output, complaints on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 1000
"""Columns of a table that no terminal bounds."""


def emit_json(document: Any) -> None:
    """Print ``document`` as JSON: insertion order, two spaces, UTF-8 whatever the locale, newline at the end.

    Equal documents give equal bytes. Floats are printed as the shortest text that reads back equal.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    sys.stdout.flush()
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(text)
    else:
        stream.write(text.encode("utf-8"))
        stream.flush()


def console() -> Console:
    """Standard output for rich; it keeps quiet about colour when NO_COLOR is set or nobody looks."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: str = "") -> None:
    """Print rows under ``columns``; the columns named in ``right`` (space separated) are flush right.

    Cells are printed as they are: brackets in data are no markup.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    numeric = right.split()
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def print_line(text: str = "") -> None:
    """Print one line of text as it is."""
    console().print(text, soft_wrap=True)


def complain(message: str, *, hint: str = "") -> None:
    """Print ``error: message`` on standard error, and a hint on the next line."""
    _say("error: ", "bold red", message)
    if hint:
        _say("", "", hint)


def remark(message: str) -> None:
    """Print a line on standard error that belongs to a complaint."""
    _say("", "", message)


def warn(message: str) -> None:
    """Print ``warning: message`` on standard error."""
    _say("warning: ", "bold yellow", message)


def _say(label: str, style: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    stderr = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    stderr.print(Text.assemble((label, style), message), soft_wrap=True)
