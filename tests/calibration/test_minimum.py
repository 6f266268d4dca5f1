"""The least misfit is the ridge regression's where nothing is far off, and one outlier cannot pull it away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from costmodels.columns import Column
from optimizer.calibration.minimum import ROBUST, minimum


@dataclass
class Line:
    """Residuals ``measured - slope · unknowns``."""

    slope: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    measured: Column

    def residuals(self, unknowns: Column) -> Column:
        return self.measured - self.slope @ unknowns

    def slopes(self, unknowns: Column, residuals: Column) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.slope)


def test_small_residuals_give_the_ridge_regression() -> None:
    random = np.random.default_rng(0)
    slope, precisions = random.standard_normal((30, 3)), np.array([0.1, 1.0, 10.0])
    measured = slope @ np.array([0.02, -0.03, 0.01]) + 0.005 * random.standard_normal(30)
    ridge = np.linalg.solve(slope.T @ slope + np.diag(precisions), slope.T @ measured)
    found = minimum(Line(slope, measured), precisions, np.zeros(3), 30)
    np.testing.assert_allclose(found, ridge, rtol=1e-3)


def test_an_outlier_pulls_with_bounded_force() -> None:
    line = Line(np.ones((21, 1)), np.array([1.0] * 20 + [1000.0]))
    found = minimum(line, np.zeros(1), np.zeros(1), 100)
    # Twenty rows pull back with their distance, the outlier with no more than ROBUST.
    np.testing.assert_allclose(found, 1.0 + ROBUST / 20, rtol=1e-3)


@dataclass
class Growth:
    """Residuals ``measured - exp(slope · unknowns)``."""

    slope: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    measured: Column

    def residuals(self, unknowns: Column) -> Column:
        return np.asarray(self.measured - np.exp(self.slope @ unknowns))

    def slopes(self, unknowns: Column, residuals: Column) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.slope * np.exp(self.slope @ unknowns)[:, None])


@pytest.mark.parametrize("seed", range(5))
def test_the_minimum_does_not_know_where_it_was_looked_for_from(seed: int) -> None:
    random = np.random.default_rng(seed)
    slope = random.standard_normal((4000, 4))
    slope[:, 1] = slope[:, 0] + 0.02 * slope[:, 1]  # a long valley
    model = Growth(slope, np.exp(slope @ np.array([0.3, -0.2, 0.1, 0.4])) + random.standard_normal(4000))
    precisions = np.full(4, 0.5)
    near, far = (minimum(model, precisions, start, 300) for start in (np.zeros(4), random.standard_normal(4)))
    np.testing.assert_allclose(near, far, atol=6e-3)


def test_no_step_is_taken_beyond_what_was_asked() -> None:
    line = Line(np.ones((5, 1)), np.full(5, 10.0))
    assert minimum(line, np.ones(1), np.full(1, 0.25), 0) == 0.25
