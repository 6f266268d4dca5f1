"""Money over time: what a year, and an hour, of owning something costs; energy and carbon."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column

YEAR_H = 8760.0
MONTH_H = YEAR_H / 12.0
JOULES_PER_KWH = 3.6e6


def annuity_factor(rate: Column, years: Column) -> Column:
    """Constant payment per year, at the end of each, that repays 1 over ``years``: ``r / (1 − (1 + r)^−n)``.

    A rate of 0 gives ``1 / n``.

    >>> float(annuity_factor(np.asarray(0.08), np.asarray(5.0)).round(6)), float(annuity_factor(0.0, 4.0))
    (0.250456, 0.25)
    """
    rate, years = np.broadcast_arrays(np.asarray(rate, dtype=np.float64), np.asarray(years, dtype=np.float64))
    safe = np.where(rate > 0, rate, 1.0)
    return np.where(rate > 0, safe / -np.expm1(-years * np.log1p(safe)), 1.0 / years)


def yearly_capital_usd(price_usd: Column, residual_share: Column, rate: Column, years: Column) -> Column:
    """Capital charge per year: the annuity of the price less the present value of what it sells for at the end."""
    present = price_usd * (1.0 - residual_share * (1.0 + rate) ** -years)
    return np.asarray(present * annuity_factor(rate, years))


def hourly_usd(yearly_usd: Column, utilisation: Column) -> Column:
    """Charge per hour of use when the owner uses the equipment only the share ``utilisation`` of the year."""
    return np.asarray(yearly_usd / (YEAR_H * utilisation))


def energy_kwh(watts: Column, seconds: Column, pue: Column) -> Column:
    """Energy at the meter: IT power with the facility's overhead."""
    return np.asarray(watts * pue * seconds / JOULES_PER_KWH)


def break_even_utilisation(yearly_capital: Column, running_per_hour: Column, rent_per_hour: Column) -> Column:
    """Share of the year in use above which owning is cheaper than renting (infinite where it never is).

    The capital charge runs always, the running cost and the rent only in use: ``C / (8760 (rent − running))``.
    """
    margin = np.asarray(rent_per_hour - running_per_hour)
    return np.where(margin > 0, yearly_capital / (YEAR_H * np.where(margin > 0, margin, 1.0)), np.inf)


def break_even_months(price_usd: Column, running_per_hour: Column, rent_per_hour: Column) -> Column:
    """Months of continuous use after which a purchase charged in full has cost less than rent (infinite: never)."""
    margin = np.asarray(rent_per_hour - running_per_hour)
    return np.where(margin > 0, price_usd / (MONTH_H * np.where(margin > 0, margin, 1.0)), np.inf)
