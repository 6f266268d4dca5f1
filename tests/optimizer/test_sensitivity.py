"""Break-evens flip the winner within 1%, bars are what planning again gives, draws converge to the point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalogs import Catalog
from catalogs.errors import ClusterplanError
from optimizer.catalog_variant import with_assumptions, with_offers
from optimizer.comparison.break_even import break_evens
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.contender import label
from optimizer.comparison.contenders import contenders
from optimizer.comparison.fronts import Front, fronts
from optimizer.comparison.monte_carlo import monte_carlo
from optimizer.comparison.ownership import Terms
from optimizer.comparison.tornado import tornado
from optimizer.request import read_job
from tests.optimizer.flips import winners_flip

DAY_S = 86400.0


@pytest.fixture(scope="module")
def now() -> Conditions:
    catalog = Catalog()
    job = read_job(catalog, "llama-2-7b", 200e9, deadline_s=30 * DAY_S, hardware=["a800-sxm-80g", "ascend-910b"])
    return Conditions(job, catalog)


@pytest.fixture(scope="module")
def found(now: Conditions) -> list[Front]:
    return fronts(now.job, now.catalog)[0]


def test_the_winner_flips_at_every_break_even_price(found: list[Front], now: Conditions) -> None:
    winners_flip(found, now, least=5)


def test_buying_beats_renting_above_the_break_even_use(found: list[Front], now: Conditions) -> None:
    """With servers at a tenth of the price buying can win; then the use at which it does is where both bills meet."""
    offers = {
        name: one.model_copy(update={"price": one.price * (0.1 if one.tenure == "purchase" else 1.0)})
        for name, one in now.catalog.offers.items()
    }
    cheap = with_assumptions(with_offers(now.catalog, offers), {"storage-least-tb": 10.0, "switch-usd": 5_000.0})
    here = replace(now, catalog=cheap)
    ranked, _ = contenders(found, here)
    flips = [
        one for one in break_evens(ranked, found, here) if one.parameter.startswith("utilisation") and one.flips_at
    ]
    assert flips
    for flip in flips:
        assert flip.flips_at is not None
        buy = next(one for one in ranked if label(one) == flip.winner_to)
        rent = next(one for one in ranked if label(one) == flip.winner_from)
        assert buy.owned is not None
        for share, cheaper in ((flip.flips_at * 1.01, True), (flip.flips_at * 0.99, False)):
            owned = replace(buy.owned, terms=Terms(utilisation=min(share, 1.0)))
            own = sum(owned.bill(buy.values, np.ones(())).values())
            servers = buy.front.servers[buy.place] / rent.front.servers[rent.place]
            hour = rent.bill(rent.values, np.asarray(1 / 24))
            lease = (hour["rent"] + hour["storage"]) * servers
            assert bool(own < lease) is cheaper


def test_bars_are_what_planning_again_gives(found: list[Front], now: Conditions) -> None:
    bars = {bar.parameter: bar for bar in tornado(found, now)}
    widths = [abs(bar.cost_high_usd - bar.cost_low_usd) for bar in bars.values()]
    assert widths == sorted(widths, reverse=True)
    slow = read_job(now.catalog, "llama-2-7b", 220e9, deadline_s=30 * DAY_S, hardware=now.job.hardware)
    again, _ = contenders(fronts(slow, now.catalog)[0], replace(now, job=slow))
    # A tenth more tokens: the last step is a whole one, hence not exactly.
    assert bars["tokens (relative)"].cost_high_usd == pytest.approx(again[0].cost_usd, rel=1e-4)
    tight = replace(now, job=replace(now.job, deadline_s=27 * DAY_S))
    assert bars["deadline (days)"].cost_low_usd == contenders(found, tight)[0][0].cost_usd
    base = contenders(found, now)[0][0].cost_usd
    for name in ("tokens (relative)", "USD per CNY"):
        assert bars[name].cost_low_usd <= base <= bars[name].cost_high_usd
    assert bars["MFU (relative)"].cost_low_usd >= base >= bars["MFU (relative)"].cost_high_usd


def test_no_purchase_pays_after_its_equipment_is_written_off(found: list[Front], now: Conditions) -> None:
    flips = {}
    for years in (0.1, 100.0):
        here = replace(now, catalog=with_assumptions(now.catalog, {"depreciation-years": years}))
        told = break_evens(contenders(found, here)[0], found, here)
        flips[years] = [one.flips_at for one in told if one.unit == "months"]
        assert all(months is None or months <= 12 * years for months in flips[years])
    assert any(flips[100.0])


def test_bars_hold_what_the_user_states(found: list[Front], now: Conditions) -> None:
    own = {"electricity-usd-per-kwh": 0.3, "depreciation-years": 8.0}
    bars = {bar.parameter: bar for bar in tornado(found, replace(now, catalog=with_assumptions(now.catalog, own)))}
    assert all(bars[name].low < value == bars[name].high for name, value in own.items())


def test_points_give_the_analytic_case(found: list[Front], now: Conditions) -> None:
    ranked, _ = contenders(found, now)
    price = f"price:{ranked[0].offer.name}"
    points = {price: (ranked[0].offer.price,) * 2, "mfu": (1.0, 1.0), "electricity-usd-per-kwh": (0.0861, 0.0861)}
    outcomes = monte_carlo(ranked, now, points, draws=50, seed=1, model_error=False)
    assert [one.wins for one in outcomes] == [1.0] + [0.0] * (len(ranked) - 1)
    for one, outcome in zip(ranked, outcomes, strict=True):
        assert outcome.cost_usd == pytest.approx((one.cost_usd,) * 3)
        assert outcome.days == pytest.approx((one.days,) * 3)


def test_draws_agree_with_the_stated_probability_and_the_seed(found: list[Front], now: Conditions) -> None:
    ranked, _ = contenders(found, now)
    outcomes = monte_carlo(ranked, now, {}, draws=40_000, seed=5)
    assert outcomes == monte_carlo(ranked, now, {}, draws=40_000, seed=5)
    assert outcomes != monte_carlo(ranked, now, {}, draws=40_000, seed=6)
    assert sum(one.wins for one in outcomes) == pytest.approx(1.0)
    for one, outcome in zip(ranked, outcomes, strict=True):
        assert one.best.p_deadline == pytest.approx(outcome.p_deadline, abs=0.015)
        assert outcome.days[0] == pytest.approx(one.best.days_interval[0], rel=0.01)


def test_a_range_that_straddles_the_break_even_splits_the_wins(found: list[Front], now: Conditions) -> None:
    ranked, _ = contenders(found, now)
    winner = ranked[0]
    flip = next(
        one for one in break_evens(ranked, found, now) if one.parameter == f"price of {winner.offer.name}"
    ).flips_at
    assert flip is not None
    outcomes = monte_carlo(
        ranked, now, {f"price:{winner.offer.name}": (flip * 0.8, flip * 1.2)}, draws=20_000, seed=2, model_error=False
    )
    # Both plans stay as they are, while the break-even plans again: about half.
    assert outcomes[0].wins == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"mfu": (1.1, 0.9)}, "upside down"),
        ({"mfu": (0.0, 0.9)}, "not a possible value"),
        ({"electricity-usd-per-kwh": (-0.1, 0.9)}, "not a possible value"),
        ({"depreciation-years": (0.0, 5.0)}, "above 0"),
        ({"residual-share": (0.1, 1.2)}, "share between 0 and 1"),
        ({"electricity": (0.1, 0.9)}, "unknown range"),
        ({"mfu": (float("nan"), 1.0)}, "not finite"),
    ],
)
def test_bad_ranges_are_refused(
    found: list[Front], now: Conditions, ranges: dict[str, tuple[float, float]], message: str
) -> None:
    with pytest.raises(ClusterplanError, match=message):
        monte_carlo(contenders(found, now)[0], now, ranges, draws=10, seed=1)
