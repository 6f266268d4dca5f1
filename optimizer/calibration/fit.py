"""Fitting the constants of profiles to measured runs.

All profiles are fitted together. A constant of one accelerator × framework × precision is the sum of four parts on
a stretched (logit) scale between its bounds: what holds everywhere, what the framework's family adds at a precision
width, what the accelerator's family adds there, and what the combination itself adds. Each part is drawn towards zero,
so that few rows move a profile little away from its relatives, and no constant can rest on a bound.

The misfit is log(measured / predicted) step time under the soft-L1 loss; the minimum is found by Gauss-Newton steps
with Levenberg damping (Nocedal & Wright 2006, section 10.3) on iteratively re-weighted rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.inheritance import framework_family
from catalogs.profile import Precision
from costmodels.columns import Column
from optimizer.calibration.constants import CONSTANTS, efficiency_of
from optimizer.calibration.software import labels_of
from optimizer.measured.table import Combination, RunTable

Key = tuple[str, ...]
"""Which combinations share a part of their constants (:func:`level_keys`)."""

NOISE = 0.04
"""Relative error of a single row against which priors weigh: repeats of a layout on other software differ by it."""

ROBUST = 2.0
"""Residuals beyond this many times :data:`NOISE` lose weight."""

LEVEL_FREEDOM = (1.0, 0.5, 0.5, 0.4)
"""Standard deviation of each level's part over the constant's freedom: all, family, accelerator family, combination."""

SHIFT_FREEDOM = {"release": 0.07, "switch": 0.1}
"""Standard deviation of the log step time between releases of a framework and between a switch on and off."""

WIDTH: dict[Precision, str] = {"bf16": "half", "fp16": "half", "fp8": "eight", "mxfp8": "eight", "nvfp4": "four"}


def level_keys(catalog: Catalog, accelerator: str, framework: str, precision: Precision) -> tuple[Key, ...]:
    """What a combination shares with which others: everything, family, accelerator family, itself."""
    family = (framework_family(framework), WIDTH[precision])
    return (), family, (*family, catalog.accelerators[accelerator].family), (accelerator, framework, precision)


@dataclass
class Fit:
    """Fitted parts of all constants.

    Attributes:
        parts: level and key to the part of every constant, on the logit scale.
        shifts: label of a software release or switch to the log of its step time over that of an average one.
    """

    parts: dict[tuple[int, Key], NDArray[np.float64]] = field(default_factory=dict)
    shifts: dict[Key, float] = field(default_factory=dict)

    def inner(self, keys: Sequence[Key], base: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Constants of one combination on the logit scale: ``base`` (default: the priors) and the fitted levels."""
        start = np.array([c.inner(c.expected) for c in CONSTANTS.values()]) if base is None else base
        for level, key in enumerate(keys):
            start = start + self.parts.get((level, key), 0.0)
        return start

    def values(self, keys: Sequence[Key], base: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Constants of one combination."""
        inner = self.inner(keys, base)
        return {name: float(c.outer(inner[i])) for i, (name, c) in enumerate(CONSTANTS.items())}


@dataclass(frozen=True)
class Anchor:
    """What a fit to few rows is drawn to: the profiles that hold now.

    Attributes:
        constants: of a combination, on the logit scale.
        shifts: as in :class:`Fit`.
    """

    constants: Mapping[Combination, NDArray[np.float64]] = field(default_factory=dict)
    shifts: Mapping[Key, float] = field(default_factory=dict)


def fit(
    catalog: Catalog,
    table: RunTable,
    *,
    start: Fit | None = None,
    weights: Column | None = None,
    anchor: Anchor | None = None,
    iterations: int = 30,
    step: float = 1e-3,
) -> Fit:
    """The constants under which the table's rows are most likely.

    Rows that train adapters alone are left out: they are predicted by what full training measures.

    Args:
        catalog: says which accelerators are relatives.
        table: measured rows.
        start: where to start (the priors if None).
        weights: of the rows (0 leaves one out).
        anchor: what the fit is drawn to instead of the general priors.
        iterations: at most so many steps.
        step: of the finite differences, on the logit scale.
    """
    from scipy import sparse

    whole = np.flatnonzero(~table.is_adapted)
    if whole.size < len(table):
        table, weights = table.select(whole), None if weights is None else weights[whole]
    count = len(CONSTANTS)
    combinations = table.combinations
    keys_of = {c: level_keys(catalog, *c) for c in set(combinations)}
    slots: dict[tuple[int, Key], int] = {}
    for keys in keys_of.values():
        for level, key in enumerate(keys):
            slots.setdefault((level, key), len(slots))
    rows, levels = len(table), len(LEVEL_FREEDOM)
    slot = np.array([[slots[level, key] for level, key in enumerate(keys_of[c])] for c in combinations])
    freedom = np.array([c.freedom for c in CONSTANTS.values()])
    spread = np.array([LEVEL_FREEDOM[level] for level, _ in slots])[:, None] * freedom
    prior = (1.0 / spread**2).ravel()
    labels = [labels_of(table, row) for row in range(rows)]
    label_slots = {label: i for i, label in enumerate(sorted({label for some in labels for label in some}))}
    freedoms = [SHIFT_FREEDOM[label[0]] for label in label_slots]
    prior = np.concatenate([prior, 1.0 / np.array(freedoms) ** 2])
    shifts = np.zeros(len(label_slots))
    pairs = [(row, label_slots[label]) for row, some in enumerate(labels) for label in some]
    has_label = sparse.csr_matrix(
        (np.ones(len(pairs)), tuple(np.array(pairs, dtype=np.intp).reshape(-1, 2).T)), shape=(rows, len(label_slots))
    )
    parts = np.zeros((len(slots), count))
    if start is not None:
        for place, index in slots.items():
            parts[index] = start.parts.get(place, 0.0)
        for label, index in label_slots.items():
            shifts[index] = start.shifts.get(label, 0.0)
    general = np.array([c.inner(c.expected) for c in CONSTANTS.values()])
    anchor = anchor or Anchor()
    base = np.array([anchor.constants.get(c, general) for c in combinations])
    known = np.array([sum(anchor.shifts.get(label, 0.0) for label in some) for some in labels])
    measured = np.log(table.measured_s) - known
    row_weights = np.ones(rows) if weights is None else weights

    def inner(parts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(base + parts[slot].sum(axis=1))

    def residuals(z: NDArray[np.float64], shifts: Column) -> Column:
        return np.asarray((measured - np.log(table.predict(efficiency_of(z))) - has_label @ shifts) / NOISE)

    def loss(parts: NDArray[np.float64], shifts: Column, r: Column) -> float:
        robust = 2.0 * ROBUST**2 * (np.sqrt(1.0 + (r / ROBUST) ** 2) - 1.0)
        every = np.concatenate([parts.ravel(), shifts])
        return float(np.sum(row_weights * robust) + np.sum(prior * every**2))

    columns = (slot[:, :, None] * count + np.arange(count)).reshape(rows, -1)
    pointers = np.arange(rows + 1) * levels * count
    damping = 1e-2
    z = inner(parts)
    r = residuals(z, shifts)
    best = loss(parts, shifts, r)
    for _ in range(iterations):
        slope = np.empty((rows, count))
        for i in range(count):
            moved = z.copy()
            moved[:, i] += step
            slope[:, i] = -(residuals(moved, shifts) - r) / step
        values = np.repeat(slope[:, None, :], levels, axis=1).reshape(rows, -1)
        jacobian = sparse.csr_matrix((values.ravel(), columns.ravel(), pointers), shape=(rows, parts.size))
        jacobian = sparse.hstack([jacobian, has_label / NOISE], format="csr")
        w = row_weights / np.sqrt(1.0 + (r / ROBUST) ** 2)
        weighted = jacobian.multiply(w[:, None]).tocsr()
        hessian = np.asarray((weighted.T @ jacobian).todense())
        every = np.concatenate([parts.ravel(), shifts])
        gradient = np.asarray(weighted.T @ r) - prior * every
        improved = False
        for _ in range(8):
            system = hessian + np.diag(prior + damping * (np.diag(hessian) + prior))
            move = np.clip(np.linalg.solve(system, gradient), -1.5, 1.5)
            trial = parts + move[: parts.size].reshape(parts.shape)
            trial_shifts = shifts + move[parts.size :]
            trial_z = inner(trial)
            trial_r = residuals(trial_z, trial_shifts)
            value = loss(trial, trial_shifts, trial_r)
            if np.isfinite(value) and value < best:
                improved = True
                break
            damping *= 4.0
        if not improved:
            break
        gain = best - value
        parts, shifts, z, r, best = trial, trial_shifts, trial_z, trial_r, value
        damping = max(damping / 5.0, 1e-6)
        if gain < 1e-4 * best:
            break
    return Fit(
        {place: parts[index] for place, index in slots.items()},
        {label: float(shifts[index]) for label, index in label_slots.items()},
    )


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
