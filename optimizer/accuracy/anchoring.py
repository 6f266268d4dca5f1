"""What a few rows of an unseen source are worth: calibrating on them, as its owner would, judged on its other rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalogs.catalog import Catalog
from costmodels.columns import Column
from optimizer.calibration.fit import fit, predicted
from optimizer.calibration.parts import Anchor, Fit, level_keys
from optimizer.measured.table import RunTable

ANCHOR_ROWS = 3
"""Rows of a source that are calibrated on."""

DRAWS = 6
"""Random choices of those rows."""


def anchored_errors(
    catalog: Catalog, table: RunTable, rows: Sequence[int], trained: Fit, generator: np.random.Generator
) -> list[Column]:
    """Absolute relative errors of the other rows after calibrating on a few, for several choices of these.

    Args:
        catalog: says which accelerators are relatives.
        table: measured rows.
        rows: those of one source, by index.
        trained: a fit that has not seen the source, which the calibration is drawn to.
        generator: chooses the rows.

    Returns:
        One column per choice; none where there are no other rows.
    """
    own = table.select(rows)
    if len(own) <= ANCHOR_ROWS:
        return []
    constants = {c: trained.inner(level_keys(catalog, *c)) for c in sorted(set(own.combinations))}
    anchor = Anchor(constants, trained.shifts)
    found = []
    for _ in range(DRAWS):
        order = generator.permutation(len(own))
        judged = own.select(order[ANCHOR_ROWS:])
        fitted = fit(catalog, own.select(order[:ANCHOR_ROWS]), anchor=anchor)
        found.append(np.abs(predicted(catalog, judged, fitted, anchor=anchor) / judged.measured_s - 1.0))
    return found
