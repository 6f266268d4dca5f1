"""A scatter plot of measured against predicted values on logarithmic axes, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodels.columns import Column

SIZE, MARGIN = 560.0, 60.0
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
BAND = 0.1
"""Half-width of the band around equality, as a share."""


def scatter_svg(series: Sequence[tuple[str, Column, Column]], *, what: str = "seconds per step") -> str:
    """The plot.

    Args:
        series: name, measured and predicted values (all above zero) of each kind of point.
        what: of the axes.
    """
    values = np.concatenate([np.concatenate((m, p)) for _, m, p in series if m.size] or [np.array([0.1, 10.0])])
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    span = max(high - low, 1.0)

    def place(value: Column) -> Column:
        return np.asarray((np.log10(value) - low) / span * SIZE)

    def x(value: float) -> float:
        return MARGIN + float(place(np.asarray(value)))

    def y(value: float) -> float:
        return MARGIN / 2 + SIZE - float(place(np.asarray(value)))

    left, right = 10.0**low, 10.0 ** (low + span)
    total = SIZE + 1.5 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:g} {total:g}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{total:g}" height="{total:g}" fill="white"/>',
    ]
    corners = [
        (left, left * (1 - BAND)),
        (right, right * (1 - BAND)),
        (right, right * (1 + BAND)),
        (left, left * (1 + BAND)),
    ]
    band = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in corners)
    parts.append(f'<polygon points="{band}" fill="#eeeeee"/>')
    for power in range(int(low), int(low + span) + 1):
        at = 10.0**power
        parts.append(
            f'<path d="M{x(at):.1f} {y(left):.1f}V{y(right):.1f}M{x(left):.1f} {y(at):.1f}H{x(right):.1f}" '
            'stroke="#dddddd"/>'
        )
        parts.append(f'<text x="{x(at):.1f}" y="{y(left) + 18:.1f}" text-anchor="middle">{at:g}</text>')
        parts.append(f'<text x="{x(left) - 6:.1f}" y="{y(at) + 4:.1f}" text-anchor="end">{at:g}</text>')
    parts.append(f'<path d="M{x(left):.1f} {y(left):.1f}L{x(right):.1f} {y(right):.1f}" stroke="#888888"/>')
    for (name, measured, predicted), colour in zip(series, COLOURS, strict=False):
        across, up = MARGIN + place(measured), MARGIN / 2 + SIZE - place(predicted)
        dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(across, up, strict=True))
        parts.append(
            f'<path d="{dots}" stroke="{colour}" stroke-width="4" stroke-linecap="round" stroke-opacity="0.5"/>'
        )
        index = [entry[0] for entry in series].index(name)
        parts.append(
            f'<text x="{x(left) + 12:.1f}" y="{y(right) + 20 + 18 * index:.1f}" fill="{colour}">'
            f"{name} ({measured.size})</text>"
        )
    parts.append(f'<text x="{x(left) + SIZE / 2:.1f}" y="{total - 8:.1f}" text-anchor="middle">measured {what}</text>')
    middle = MARGIN / 2 + SIZE / 2
    parts.append(
        f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"predicted {what}; band: ±{BAND:.0%}</text>"
    )
    parts.append("</svg>\n")
    return "\n".join(parts)
