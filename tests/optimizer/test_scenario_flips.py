"""The 70B scenario: break-even prices flip the winner within 1%, bars are what planning from scratch gives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from catalogs import Catalog
from catalogs.assumption import Assumption
from costmodels.interval import NORMAL_90
from optimizer.catalog_variant import with_assumption, with_assumptions, with_currencies, with_offers
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import label
from optimizer.comparison.contenders import contenders
from optimizer.comparison.fronts import Front, fronts
from optimizer.comparison.tornado import Bar, tornado
from optimizer.failure_rates import STATED, failure_rate
from optimizer.request import read_job
from tests.optimizer.flips import winners_flip

pytestmark = pytest.mark.slow

DAY_S = 86400.0


@pytest.fixture(scope="module")
def now() -> Conditions:
    catalog = Catalog()
    hardware = ["a800-sxm-80g", "ascend-910b"]
    return Conditions(read_job(catalog, "llama-2-70b", 2e12, deadline_s=90 * DAY_S, hardware=hardware), catalog)


@pytest.fixture(scope="module")
def found(now: Conditions) -> list[Front]:
    return fronts(now.job, now.catalog)[0]


def test_the_winner_flips_at_every_break_even_price(found: list[Front], now: Conditions) -> None:
    winners_flip(found, now, least=6)


def test_every_bar_is_what_planning_from_scratch_gives(found: list[Front], now: Conditions) -> None:
    """Catalog or job changed as a user would; of every bar one end, and both of the tokens, is searched anew."""
    bars = tornado(found, now)
    assert len(bars) >= 12
    for bar in bars:
        for value, cost, winner in (
            (bar.low, bar.cost_low_usd, bar.winner_low),
            (bar.high, bar.cost_high_usd, bar.winner_high),
        ):
            here = changed(now, bar, value)
            anew = value == bar.low or here.job.tokens != now.job.tokens
            again, _ = contenders(fronts(here.job, here.catalog)[0] if anew else found, here)
            # A tenth more tokens: the last step is a whole one, hence not exactly.
            assert cost == pytest.approx(again[0].cost_usd, rel=1e-5), bar.parameter
            assert winner == label(again[0]), bar.parameter


def changed(now: Conditions, bar: Bar, value: float) -> Conditions:
    job, catalog = now.job, now.catalog
    if bar.parameter == "MFU (relative)":
        # Profiles have no single speed; a slower model is one whose days are longer by as much.
        return replace(now, slowdown=1 / value)
    if bar.parameter == "tokens (relative)":
        return Conditions(replace(job, tokens=job.tokens * value), catalog)
    if bar.parameter == "deadline (days)":
        return Conditions(replace(job, deadline_s=value * DAY_S), catalog)
    if bar.parameter.startswith("price of "):
        name = bar.parameter.split()[2]
        offers = catalog.offers | {name: catalog.offers[name].model_copy(update={"price": value})}
        return Conditions(job, with_offers(catalog, offers))
    if bar.parameter.startswith("USD per "):
        code = bar.parameter.split()[2].lower()
        rates = catalog.currencies | {code: catalog.currencies[code].model_copy(update={"usd": value})}
        return Conditions(job, with_currencies(catalog, rates))
    if bar.parameter.startswith(STATED):
        family = bar.parameter.removeprefix(f"{STATED}.")
        accelerator = next(one for one in catalog.accelerators.values() if one.family == family)
        sigma = failure_rate(accelerator, catalog).log_sigma
        ends = {"low": value * math.exp(-NORMAL_90 * sigma), "high": value * math.exp(NORMAL_90 * sigma)}
        said = {"name": bar.parameter, "value": value, "unit": "hours", "date": "2026", "sources": {"*": "stated"}}
        return Conditions(job, with_assumption(catalog, Assumption(**said, **ends)))
    assert math.isfinite(catalog.assumption(bar.parameter))
    return Conditions(job, with_assumptions(catalog, {bar.parameter: value}))
