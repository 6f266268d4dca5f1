"""A line over time: in characters for the terminal, and as SVG."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape

Series = Sequence[tuple[datetime.date, float]]
"""Values by date, in order."""

WIDTH, HEIGHT = 640, 240
LEFT, TOP, BOTTOM = 80, 30, 24


def text_chart(title: str, series: Series, *, columns: int = 60, rows: int = 8) -> list[str]:
    r"""Lines of a chart; a value holds until the next one.

    >>> days = [datetime.date(2026, 1, day) for day in (1, 2, 3)]
    >>> print("\n".join(text_chart("USD", list(zip(days, (1.0, 3.0, 2.0))), columns=6, rows=3)))
    USD
    3 |  **
    2 |    **
    1 |**
      2026-01-01 to 2026-01-03
    """
    low, high = _range(series)
    first, last = series[0][0], series[-1][0]
    span = max((last - first).days, 1)
    levels = []
    for column in range(columns):
        day = first + datetime.timedelta(days=round(column * span / (columns - 1)))
        value = [value for date, value in series if date <= day][-1]
        levels.append(round((value - low) / (high - low) * (rows - 1)))
    labels = {row: f"{low + (high - low) * row / (rows - 1):.4g}" for row in range(rows)}
    margin = max(map(len, labels.values()))
    lines = [title]
    for row in reversed(range(rows)):
        line = "".join("*" if level == row else " " for level in levels).rstrip()
        lines.append(f"{labels[row]:>{margin}} |{line}")
    return [*lines, f"{'':{margin}} {first} to {last}"]


def svg_page(charts: Sequence[tuple[str, Series]]) -> str:
    """Charts below each other, as one SVG image."""
    body = "".join(_svg(title, series, place * HEIGHT) for place, (title, series) in enumerate(charts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}</svg>\n'
    )


def _svg(title: str, series: Series, down: int) -> str:
    low, high = _range(series)
    first, last = series[0][0], series[-1][0]
    span = max((last - first).days, 1)
    right, floor = WIDTH - 10, down + HEIGHT - BOTTOM
    tall = HEIGHT - TOP - BOTTOM

    def x(date: datetime.date) -> float:
        return LEFT + (right - LEFT) * (date - first).days / span

    def y(value: float) -> float:
        return floor - tall * (value - low) / (high - low)

    path = f"M{x(first):.1f} {y(series[0][1]):.1f}" + "".join(f"H{x(d):.1f}V{y(v):.1f}" for d, v in series[1:])
    labels = "".join(
        f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.4g}</text>'
        f'<path d="M{LEFT} {y(value):.1f}H{right}" stroke="#ddd"/>'
        for value in (low, (low + high) / 2, high)
    )
    return (
        f'<text x="{LEFT}" y="{down + 18}" font-weight="bold">{escape(title)}</text>{labels}'
        f'<text x="{LEFT}" y="{floor + 16}">{first}</text>'
        f'<text x="{right}" y="{floor + 16}" text-anchor="end">{last}</text>'
        f'<path d="{path}" fill="none" stroke="#1f77b4" stroke-width="2"/>\n'
    )


def _range(series: Series) -> tuple[float, float]:
    """Lowest and highest value, apart even where all are equal."""
    low, high = min(value for _, value in series), max(value for _, value in series)
    return (low, high) if high > low else (low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1)
