"""Annuities, carrying costs and break-evens against cash flows written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.finance import (
    MONTH_H,
    YEAR_H,
    annuity_factor,
    break_even_months,
    break_even_utilisation,
    hourly_usd,
    yearly_capital_usd,
)

RATES = st.floats(0.0, 0.4)
YEARS = st.integers(1, 20)


@given(rate=RATES, years=YEARS)
def test_an_annuity_repays_the_loan(rate: float, years: int) -> None:
    debt = 1.0
    for _ in range(years):
        debt = debt * (1 + rate) - float(annuity_factor(np.asarray(rate), np.asarray(float(years))))
    assert debt == pytest.approx(0.0, abs=1e-6 * (1 + rate) ** years)


@given(rate=RATES, years=YEARS, residual=st.floats(0, 0.9))
def test_a_resale_pays_the_rest(rate: float, years: int, residual: float) -> None:
    debt = 100.0
    payment = yearly_capital_usd(np.asarray(100.0), np.asarray(residual), np.asarray(rate), np.asarray(float(years)))
    for _ in range(years):
        debt = debt * (1 + rate) - float(payment)
    assert debt == pytest.approx(100 * residual, abs=1e-4 * (1 + rate) ** years)


@given(rate=st.floats(0.0, 0.3), more=st.floats(0.001, 0.1), years=YEARS)
def test_a_lower_rate_and_a_longer_life_never_cost_more(rate: float, more: float, years: int) -> None:
    base = annuity_factor(np.asarray(rate), np.asarray(float(years)))
    assert annuity_factor(np.asarray(rate + more), np.asarray(float(years))) > base
    assert annuity_factor(np.asarray(rate), np.asarray(years + 1.0)) < base


def test_break_evens_are_where_both_cost_the_same() -> None:
    yearly, running, rent = np.asarray(50_000.0), np.asarray(2.0), np.asarray([10.0, 1.0])
    use = break_even_utilisation(yearly, running, rent)
    assert float(hourly_usd(yearly, use[0]) + running) == pytest.approx(10.0)
    assert use[1] == np.inf
    months = break_even_months(np.asarray(200_000.0), running, rent)
    hours = months[0] * MONTH_H
    assert 200_000 + running * hours == pytest.approx(rent[0] * hours)
    assert months[1] == np.inf
    assert YEAR_H == 12 * MONTH_H
