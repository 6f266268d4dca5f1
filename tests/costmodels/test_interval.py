from __future__ import annotations

import numpy as np
import pytest

from costmodels.interval import combined_sigma, interval_90, probability_below, scale_sigma


def column(value: float) -> np.ndarray:
    return np.asarray(value)


def test_interval_holds_nine_tenths_of_a_log_normal_sample() -> None:
    sample = np.exp(0.2 * np.random.default_rng(0).standard_normal(200_000))
    low, high = interval_90(column(1.0), column(0.2))
    assert np.mean((sample >= low) & (sample <= high)) == pytest.approx(0.9, abs=0.003)
    assert low * high == pytest.approx(1.0)


def test_probability_agrees_with_the_interval() -> None:
    low, high = interval_90(column(5.0), column(0.1))
    assert probability_below(high, column(5.0), column(0.1)) == pytest.approx(0.95, abs=1e-4)
    assert probability_below(low, column(5.0), column(0.1)) == pytest.approx(0.05, abs=1e-4)
    assert probability_below(column(5.0), column(5.0), column(0.1)) == 0.5


@pytest.mark.parametrize(("limit", "expected"), [(4.0, 0.0), (5.0, 1.0), (6.0, 1.0), (np.inf, 1.0)])
def test_probability_without_deviation_is_certain(limit: float, expected: float) -> None:
    assert probability_below(column(limit), column(5.0), column(0.0)) == expected


def test_no_deadline_is_always_met() -> None:
    assert probability_below(column(np.inf), column(5.0), column(0.3)) == 1.0


def test_independent_deviations_add_in_quadrature() -> None:
    assert combined_sigma(column(0.3), column(0.4)) == pytest.approx(0.5)


def test_scale_widens_only_beyond_the_largest_measured_cluster() -> None:
    assert scale_sigma(column(64.0), column(128.0)) == 0.0
    assert scale_sigma(column(512.0), column(0.0)) == 0.0
    once, twice = scale_sigma(column(256.0), column(128.0)), scale_sigma(column(512.0), column(128.0))
    assert twice == pytest.approx(2 * once)
    assert once > 0
