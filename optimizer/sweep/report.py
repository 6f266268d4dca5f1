"""A sweep as a table for people, as rows for a spreadsheet, and as JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Any

from optimizer.layout import Layout
from optimizer.sweep.grid import Grid
from optimizer.sweep.outcome import PLANNED

SCHEMA_VERSION = "1"

FIGURES = (
    "cost_usd",
    "days",
    "p_deadline",
    "accelerators",
    "servers",
    "hardware",
    "offer",
    "framework",
    "precision",
    "mfu",
    "step_s",
)
"""Names of a configuration that become columns."""


def sweep_json(grid: Grid, outcomes: list[dict[str, Any]], *, interrupted: bool) -> dict[str, Any]:
    """The object of the documented schema (docs/json-schema.md)."""
    return {
        "schema_version": SCHEMA_VERSION,
        "varied": list(grid.varied),
        "scenarios": outcomes,
        "counts": dict(sorted(Counter(one["status"] for one in outcomes).items())),
        "notes": grid.market.notes,
        "interrupted": interrupted,
    }


def sweep_csv(grid: Grid, outcomes: list[dict[str, Any]]) -> str:
    """One line per scenario: its fields, its figures, its layout's degrees; empty where there is no plan."""
    fields = list(grid.scenarios[0].values)
    degrees = list(Layout.__dataclass_fields__)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*fields, "status", *FIGURES, *degrees, "reason"])
    for one in outcomes:
        best = one["best"] or {"layout": {}}
        out.writerow(
            [
                *(written(one["scenario"][name]) for name in fields),
                one["status"],
                *(best.get(name) for name in FIGURES),
                *(best["layout"].get(name) for name in degrees),
                one["reason"],
            ]
        )
    return text.getvalue()


def written(value: Any) -> str:
    """A field's value as people write it.

    >>> written("2T"), written(["a800-sxm-80g", "h20-96g"]), written(64)
    ('2T', 'a800-sxm-80g, h20-96g', '64')
    """
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def counted(outcomes: list[dict[str, Any]]) -> str:
    """How many scenarios ended how, in words."""
    counts = Counter(one["status"] for one in outcomes)
    rest = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()) if status != PLANNED)
    return f"{len(outcomes):,} scenarios: {counts[PLANNED]:,} planned" + (f", {rest}" if rest else "")
