"""Repairs of a layout that does not fit, ranked by what they cost in throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalogs.catalog import Catalog
from catalogs.errors import UnsupportedError
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.doctor.changes import Change, combined
from optimizer.doctor.figures import Figures, figures
from optimizer.inverse.least import ground
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.validity import broken_rules

MOST_REPAIRS = 10
"""Repairs that are kept: the best one of each set of axes."""


@dataclass(frozen=True)
class Repair:
    """A change after which the layout fits.

    Attributes:
        changes: in words.
        axes: what they change.
        hardware: accelerator it is for.
        throughput: tokens/s of the cluster over those of the failing layout, were its memory large enough.
        configuration: the repaired layout with all figures; it fits.
    """

    changes: tuple[str, ...]
    axes: tuple[str, ...]
    hardware: str
    throughput: float
    configuration: Configuration

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "changes": list(self.changes),
            "axes": list(self.axes),
            "hardware": self.hardware,
            "throughput": self.throughput,
            "configuration": self.configuration.to_json(),
        }


def repairs(job: Job, layout: Layout, physics: Physics, catalog: Catalog) -> list[Repair]:
    """Repairs by changes of one or two axes, least loss of throughput first; other hardware after the same one.

    Among equal throughput the repair with fewer changes comes first, then the order of the axes. Of each set of axes
    only the best is kept, and no repair whose changes are not all needed while the fewer ones cost less. Where two
    changes are not enough, three are tried.
    """
    before = float(figures(physics, [layout]).tokens_per_s[0])
    found: list[Repair] = []
    for most in (2, 3):
        candidates = combined(layout, physics, job, most=most)
        found = _fitting(candidates, physics, before)
        if found:
            break
    return found + _bigger_parts(job, layout, physics, catalog, before)


def _fitting(candidates: Sequence[tuple[tuple[Change, ...], Layout]], physics: Physics, before: float) -> list[Repair]:
    """The candidates that fit, the best one of each set of axes, least loss of throughput first."""
    if not candidates:
        return []
    table: Figures = figures(physics, [layout for _, layout in candidates])
    fits = table.bytes <= physics.device.memory_bytes
    order = sorted(
        (int(row) for row in np.flatnonzero(fits)),
        key=lambda row: (-float(table.tokens_per_s[row]), len(candidates[row][0]), row),
    )
    kept: dict[tuple[str, ...], Repair] = {}
    for row in order:
        several, layout = candidates[row]
        axes = tuple(change.axis for change in several)
        words = {change.text for change in several}
        if axes in kept or any(set(better.changes) < words for better in kept.values()):
            continue
        kept[axes] = Repair(
            changes=tuple(change.text for change in several),
            axes=axes,
            hardware=physics.site.accelerator.name,
            throughput=float(table.tokens_per_s[row]) / before,
            configuration=configure(physics, layout, None),
        )
        if len(kept) == MOST_REPAIRS:
            break
    return list(kept.values())


def _bigger_parts(job: Job, layout: Layout, physics: Physics, catalog: Catalog, before: float) -> list[Repair]:
    """The same layout, or with one change, on parts of the same vendor with more memory; the smallest ones first."""
    here = physics.site.accelerator
    found: list[tuple[float, Repair]] = []
    for name, part in catalog.accelerators.items():
        if part.vendor != here.vendor or part.memory_bytes <= here.memory_bytes:
            continue
        other = replace(job, hardware=(name,), frameworks=(physics.site.framework.name,))
        try:
            site = ground(other, catalog)
            there = Physics.of(other, site, catalog)
        except UnsupportedError:
            continue
        if layout.accelerators > site.max_accelerators or broken_rules(layout, there, other):
            continue
        one = configure(there, layout, None)
        if one.fits:
            gain = layout.global_batch * float(there.seq) / one.step_s / before
            found.append(
                (part.memory_bytes, Repair((f"{name} instead of {here.name}",), ("hardware",), name, gain, one))
            )
    return [repair for _, repair in sorted(found, key=lambda pair: (pair[0], pair[1].hardware))][:4]
