"""Fitting the constants of profiles to measured runs.

All profiles are fitted together, part by part (:mod:`optimizer.calibration.parts`), beside a factor for every software
release and switch. The misfit is log(measured / predicted) step time (:mod:`optimizer.calibration.minimum`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from costmodels.columns import Column
from optimizer.calibration.constants import CONSTANTS, efficiency_of, expected_inner
from optimizer.calibration.minimum import minimum
from optimizer.calibration.parts import Anchor, Fit, Unknowns, level_keys
from optimizer.calibration.software import labels_of
from optimizer.measured.table import RunTable

if TYPE_CHECKING:
    from scipy import sparse

NOISE = 0.04
"""Relative error of a single row against which priors weigh: repeats of a layout on other software differ by it."""

DIFFERENCE = 1e-3
"""Of finite differences, on the logit scale."""


def fit(
    catalog: Catalog,
    table: RunTable,
    *,
    start: Fit | None = None,
    anchor: Anchor | None = None,
    iterations: int = 300,
) -> Fit:
    """The constants under which the table's rows are most likely.

    Rows that train adapters alone are left out: they are predicted by what full training measures.

    Args:
        catalog: says which accelerators are relatives.
        table: measured rows.
        start: where to start (the priors if None).
        anchor: what the fit is drawn to instead of the general priors.
        iterations: at most so many steps.
    """
    if table.is_adapted.any():
        table = table.select(np.flatnonzero(~table.is_adapted))
    model = _StepTimes.of(catalog, table, anchor or Anchor())
    unknowns = model.unknowns
    return unknowns.fit(minimum(model, unknowns.precisions, unknowns.vector(start or Fit()), iterations))


@dataclass(frozen=True, eq=False)
class _StepTimes:
    """Logs of measured over predicted step times, over :data:`NOISE`, as a function of a fit's unknowns.

    Attributes:
        table: measured rows.
        unknowns: what the rows' constants and shifts are made of.
        base: constants that the parts add to, on the logit scale, shape (rows, constants).
        log_measured: measured step times, the anchor's shifts taken off.
        slots: index of the place of each level's part, shape (rows, levels).
        has_label: 1 where a row has a label, shape (rows, labels).
    """

    table: RunTable
    unknowns: Unknowns
    base: NDArray[np.float64]
    log_measured: Column
    slots: NDArray[np.intp]
    has_label: sparse.csr_matrix

    @classmethod
    def of(cls, catalog: Catalog, table: RunTable, anchor: Anchor) -> _StepTimes:
        from scipy import sparse

        combinations = table.combinations
        keys = {c: level_keys(catalog, *c) for c in set(combinations)}
        labels = [labels_of(table, row) for row in range(len(table))]
        unknowns = Unknowns.of(keys.values(), (label for some in labels for label in some))
        place_slot = {place: slot for slot, place in enumerate(unknowns.places)}
        label_slot = {label: slot for slot, label in enumerate(unknowns.labels)}
        labelled = np.array([row for row, some in enumerate(labels) for _ in some], dtype=np.intp)
        by = np.array([label_slot[label] for some in labels for label in some], dtype=np.intp)
        known = np.array([sum(anchor.shifts.get(label, 0.0) for label in some) for some in labels])
        general = expected_inner()
        return cls(
            table=table,
            unknowns=unknowns,
            base=np.array([anchor.constants.get(c, general) for c in combinations]),
            log_measured=np.log(table.measured_s) - known,
            slots=np.array([[place_slot[place] for place in enumerate(keys[c])] for c in combinations]),
            has_label=sparse.csr_matrix(
                (np.ones(labelled.size), (labelled, by)), shape=(len(table), len(unknowns.labels))
            ),
        )

    def residuals(self, unknowns: Column) -> Column:
        return self._residuals(*self._inner_and_shifts(unknowns))

    def slopes(self, unknowns: Column, residuals: Column) -> sparse.csr_matrix:
        """By finite differences; a constant rises by as much as any of its parts."""
        from scipy import sparse

        inner, shifts = self._inner_and_shifts(unknowns)
        slope = np.empty_like(inner)
        for i in range(len(CONSTANTS)):
            moved = inner.copy()
            moved[:, i] += DIFFERENCE
            slope[:, i] = -(self._residuals(moved, shifts) - residuals) / DIFFERENCE
        rows, levels = self.slots.shape
        values = np.repeat(slope[:, None, :], levels, axis=1).ravel()
        columns = (self.slots[:, :, None] * len(CONSTANTS) + np.arange(len(CONSTANTS))).ravel()
        ends = np.arange(rows + 1) * levels * len(CONSTANTS)
        of_parts = sparse.csr_matrix((values, columns, ends), shape=(rows, self.unknowns.count))
        return sparse.csr_matrix(sparse.hstack([of_parts, self.has_label / NOISE]))

    def _inner_and_shifts(self, unknowns: Column) -> tuple[NDArray[np.float64], Column]:
        """Constants of every row on the logit scale, shape (rows, constants), and the log factors of labels."""
        parts, shifts = self.unknowns.split(unknowns)
        return self.base + parts[self.slots].sum(axis=1), shifts

    def _residuals(self, inner: NDArray[np.float64], shifts: Column) -> Column:
        log_predicted = np.log(self.table.predict(efficiency_of(inner)))
        return np.asarray((self.log_measured - log_predicted - self.has_label @ shifts) / NOISE)


def predicted(catalog: Catalog, table: RunTable, fitted: Fit, *, anchor: Anchor | None = None) -> Column:
    """Predicted seconds per step of a table's rows under fitted constants (``anchor`` as in :func:`fit`)."""
    anchor = anchor or Anchor()
    combinations = table.combinations
    known = {c: fitted.inner(level_keys(catalog, *c), anchor.constants.get(c)) for c in set(combinations)}
    shifts = [
        sum(fitted.shifts.get(label, 0.0) + anchor.shifts.get(label, 0.0) for label in labels_of(table, row))
        for row in range(len(table))
    ]
    return table.predict(efficiency_of(np.array([known[c] for c in combinations]))) * np.exp(shifts)
