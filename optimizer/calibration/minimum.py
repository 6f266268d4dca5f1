"""The least misfit of a model whose residuals may have outliers and whose unknowns have priors.

The misfit is the soft-L1 loss of the residuals and the squares of the unknowns over their prior variance. Its minimum
is found by Gauss-Newton steps with Levenberg damping (Nocedal & Wright 2006, section 10.3) on iteratively re-weighted
residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column

if TYPE_CHECKING:
    from scipy import sparse

ROBUST = 2.0
"""Residuals beyond this size lose weight."""

LONGEST_MOVE = 1.5
"""How far one step may carry an unknown."""

DAMPING, LEAST_DAMPING = 1e-2, 1e-6
"""Of the first step, and of any."""

TRIALS = 8
"""How often the damping of a step is raised before the point counts as the minimum."""

ENOUGH = 5e-3
"""How much a step must lower the misfit for another one to be tried. As twice the log of a probability, less says
nothing; and a fit to part of the rows that starts from one to all of them must not end while it still knows the
others."""

KEPT = 6
"""Steps that are taken with the same slopes, which cost more than all else and change little from step to step."""


class Model(Protocol):
    """Residuals as a function of unknowns; a residual of 1 is as large as expected."""

    def residuals(self, unknowns: Column) -> Column:
        """Measured less predicted."""

    def slopes(self, unknowns: Column, residuals: Column) -> sparse.csr_matrix:
        """By how much each residual (row) falls per unit of each unknown (column), where they are as given."""


@dataclass(frozen=True, eq=False)
class _Point:
    """Unknowns with their residuals and misfit."""

    unknowns: Column
    residuals: Column
    misfit: float

    @classmethod
    def at(cls, unknowns: Column, model: Model, precisions: Column) -> _Point:
        r = model.residuals(unknowns)
        robust = 2.0 * ROBUST**2 * (np.sqrt(1.0 + (r / ROBUST) ** 2) - 1.0)
        return cls(unknowns, r, float(np.sum(robust) + np.sum(precisions * unknowns**2)))


def minimum(model: Model, precisions: Column, start: Column, iterations: int) -> Column:
    """The unknowns of least misfit.

    Args:
        model: gives the residuals.
        precisions: one over the prior variance of each unknown about zero.
        start: where to start.
        iterations: at most so many steps.
    """
    here, damping = _Point.at(start, model, precisions), DAMPING
    slopes, age = model.slopes(here.unknowns, here.residuals), 0
    for _ in range(iterations):
        lower, damping = _lower(here, model, slopes, precisions, damping)
        age += 1
        little = lower is None or here.misfit - lower.misfit < ENOUGH
        here = lower or here
        if little and age == 1:
            break
        if little or age == KEPT:
            slopes, age = model.slopes(here.unknowns, here.residuals), 0
    return here.unknowns


def _lower(
    here: _Point, model: Model, slopes: sparse.csr_matrix, precisions: Column, damping: float
) -> tuple[_Point | None, float]:
    """A point of less misfit, None if no damping gives one, and the damping for the next step."""
    from scipy import linalg

    hessian, descent = _normal_equations(here, slopes, precisions)
    for tried in damping * 4.0 ** np.arange(TRIALS):
        system = hessian + np.diag(precisions + tried * (np.diag(hessian) + precisions))
        move = np.clip(linalg.solve(system, descent, assume_a="pos"), -LONGEST_MOVE, LONGEST_MOVE)
        trial = _Point.at(here.unknowns + move, model, precisions)
        if np.isfinite(trial.misfit) and trial.misfit < here.misfit:
            return trial, max(tried / 5.0, LEAST_DAMPING)
    return None, damping


def _normal_equations(
    here: _Point, slopes: sparse.csr_matrix, precisions: Column
) -> tuple[NDArray[np.float64], Column]:
    """Half the second derivatives of the re-weighted residuals' misfit, and half the way down with the priors'."""
    from scipy import sparse

    weights = 1.0 / np.sqrt(1.0 + (here.residuals / ROBUST) ** 2)
    weighted = sparse.csr_matrix(slopes.multiply(weights[:, None]))
    hessian = np.asarray((weighted.T @ slopes).todense())
    return hessian, np.asarray(weighted.T @ here.residuals) - precisions * here.unknowns
