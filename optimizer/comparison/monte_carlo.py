"""The probability that each choice wins, under drawn prices, rates, speeds and failures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from catalogs.assumption import impossible
from catalogs.catalog import Catalog
from catalogs.errors import UnknownNameError, UsageError
from catalogs.naming import unknown_name
from costmodels.columns import Column
from costmodels.run import DAY_S
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import Contender
from optimizer.failure_rates import STATED, failure_rate, failure_rates

Range = tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """What the draws say about one contender (bounds hold 90%).

    Attributes:
        wins: share of draws in which it is the cheapest.
        cost_usd, days: 5%, 50% and 95% points.
        p_deadline: share of draws that end by the deadline.
    """

    wins: float
    cost_usd: tuple[float, float, float]
    days: tuple[float, float, float]
    p_deadline: float


def check_ranges(ranges: Mapping[str, Range], catalog: Catalog, ranked: list[Contender]) -> None:
    """Refuse ranges that mean nothing.

    Raises:
        UsageError: a range is upside down, not finite, or not above zero.
        UnknownNameError: it names nothing that a bill reads.
    """
    kinds = [one.front.site.accelerator for one in ranked]
    known = {*catalog.assumptions, *(f"price:{one.offer.name}" for one in ranked), "mfu"}
    known |= {STATED, *(rate.told.name for rate in failure_rates(kinds, catalog))}
    known |= {f"fx:{code}" for code in catalog.currencies}
    for name, (low, high) in ranges.items():
        if name not in known:
            raise UnknownNameError(unknown_name("range", name, known))
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise UsageError(f"--range {name}: {low:g} to {high:g} is upside down or not finite; give LOW:HIGH")
        if low < 0 or (low == 0 and re.split("[:.]", name)[0] in {"price", "fx", "mfu", STATED}):
            raise UsageError(f"--range {name}: {low:g} is not a possible value")
        if complaint := impossible(name, low) or impossible(name, high):
            raise UsageError(f"--range {name}: {complaint}")


def monte_carlo(
    ranked: list[Contender],
    now: Conditions,
    ranges: Mapping[str, Range],
    *,
    draws: int,
    seed: int,
    model_error: bool = True,
) -> list[Outcome]:
    """Costs and days of the contenders' plans under drawn prices, rates, speeds and failures.

    Ranges are uniform and independent. The error of the step time is one draw per hardware (its offers share it). So is
    the luck with failures. The failure rate is drawn from its distribution, a part of it once for all hardware: the
    team's (:class:`~optimizer.failure_rates.FailureRate`). The plans stay as they are: one decides before one knows.

    Args:
        ranked: contenders of :func:`~optimizer.comparison.contenders.contenders`.
        now: for deadline and catalog.
        ranges: LOW, HIGH by ``price:OFFER`` (in the offer's currency), ``fx:CODE``, ``mfu`` (relative), or an
            assumption's name; ``accelerator-hours-per-failure``, of all or with ``.FAMILY``, replaces the drawn rate.
        draws: how many.
        seed: of the generator; the same seed gives the same answer.
        model_error: False leaves out the errors of step time, failure rate and luck.

    Raises:
        UsageError, UnknownNameError: see :func:`check_ranges`.
    """
    check_ranges(ranges, now.catalog, ranked)
    if draws < 1:
        raise UsageError(f"--draws must be at least 1, not {draws}")
    generator = np.random.default_rng(seed)
    drawn = {name: generator.uniform(*ranges[name], size=draws) for name in sorted(ranges)}
    names = sorted({one.hardware for one in ranked})
    step = {name: generator.standard_normal(draws) for name in names}
    luck = {name: generator.standard_normal(draws) for name in names}
    team = generator.standard_normal(draws)
    kinds = sorted({one.front.site.accelerator.family for one in ranked})
    kind = {name: generator.standard_normal(draws) for name in kinds}
    costs, days = [], []
    for one in ranked:
        accelerator = one.front.site.accelerator
        rate = failure_rate(accelerator, now.catalog)
        own = math.sqrt(max(rate.log_sigma**2 - rate.team_log_sigma**2, 0.0))
        error = rate.team_log_sigma * team + own * kind[accelerator.family]
        hours = drawn.get(rate.told.name, drawn.get(STATED, rate.hours * np.exp(error * model_error)))
        error = one.step_sigma * step[one.hardware] + one.luck_log_sigma * luck[one.hardware]
        took = one.days * one.delay(hours, rate.hours) * np.exp(error * model_error) / drawn.get("mfu", np.ones(draws))
        values = dict(one.values) | {name: value for name, value in drawn.items() if name in one.values}
        values["price"] = drawn.get(f"price:{one.offer.name}", one.values["price"])
        values["fx"] = drawn.get(f"fx:{one.offer.currency.lower()}", one.values["fx"])
        costs.append(_sum(one.bill(values, took), draws))
        days.append(took)
    cheapest = np.argmin(np.stack(costs), axis=0)
    return [
        Outcome(
            wins=float((cheapest == place).mean()),
            cost_usd=_quantiles(cost),
            days=_quantiles(took),
            p_deadline=float((took * DAY_S <= now.job.deadline_s).mean()),
        )
        for place, (cost, took) in enumerate(zip(costs, days, strict=True))
    ]


def _sum(parts: Mapping[str, Column], draws: int) -> Column:
    return np.broadcast_to(sum(parts.values(), start=np.zeros(())), (draws,))


def _quantiles(values: Column) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
