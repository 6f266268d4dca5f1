"""Failure rates by generation: the fit against its second implementation and against draws, and where they arrive."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from catalogs.errors import ClusterplanError
from costmodels.interval import NORMAL_90
from optimizer.catalog_variant import with_assumption
from optimizer.compare import compare
from optimizer.comparison.monte_carlo import monte_carlo
from optimizer.failure_rates import STATED, Pooled, failure_rate, pooled
from optimizer.job import Job
from optimizer.planning import plan
from optimizer.request import read_job
from tests.oracle.failure_rates import hours_and_sigma

CATALOG = Catalog()


@pytest.fixture(scope="module")
def job() -> Job:
    return read_job(
        CATALOG,
        "llama-2-7b",
        50e9,
        hardware=["a800-sxm-80g", "ascend-910b"],
        max_accelerators=64,
        global_batch=256,
        deadline_s=10 * 86400.0,
    )


@pytest.mark.parametrize("name", ["h100-sxm-80g", "a800-sxm-80g", "tpu-v5p", "ascend-910b"])
def test_the_fit_is_that_of_the_second_implementation(name: str) -> None:
    accelerator = CATALOG.accelerators[name]
    rate = failure_rate(accelerator, CATALOG)
    hours, sigma = hours_and_sigma(accelerator, CATALOG)
    assert (rate.hours, rate.log_sigma) == pytest.approx((hours, sigma), rel=1e-9)
    assert rate.told.interval == pytest.approx(
        (hours * math.exp(-NORMAL_90 * sigma), hours * math.exp(NORMAL_90 * sigma)), rel=1e-9
    )


def test_what_is_known_of_a_generation_narrows_its_interval() -> None:
    rates = [failure_rate(CATALOG.accelerators[name], CATALOG) for name in ("h100-sxm-80g", "tpu-v4", "ascend-910b")]
    assert [rate.clusters for rate in rates] == [6, 1, 0]
    assert rates[0].log_sigma < rates[1].log_sigma < rates[2].log_sigma
    # Teams differ, however much was counted of one: the interval of the next team is no narrower.
    assert all(rate.log_sigma > rate.team_log_sigma > 0.5 for rate in rates)


def next_cluster(logs: np.ndarray, counts: np.ndarray, families: list[str], family: str) -> Pooled:  # type: ignore[type-arg]
    counted = tuple(zip(np.exp(logs).tolist(), counts.tolist(), strict=True))
    return pooled(counted, tuple(families), family)


def test_much_data_leaves_what_it_says() -> None:
    """Two generations of thirty clusters, each a factor of four apart: no pooling is left, and the spread is theirs."""
    generator = np.random.default_rng(8)
    logs = np.concatenate([generator.normal(10.0, 0.3, 30), generator.normal(10.0 + math.log(4), 0.3, 30)])
    families = ["old"] * 30 + ["new"] * 30
    counts, spread = np.full(60, 1e4), math.sqrt((logs[:30].var(ddof=1) + logs[30:].var(ddof=1)) / 2)
    for family, rows in (("old", slice(30)), ("new", slice(30, 60))):
        found = next_cluster(logs, counts, families, family)
        assert found.log_mean == pytest.approx(logs[rows].mean(), abs=0.02)
        assert found.log_sigma == pytest.approx(spread, rel=0.1)
    other = next_cluster(logs, counts, families, "unheard of")
    assert logs[:30].mean() < other.log_mean < logs[30:].mean()
    assert other.log_sigma > math.log(2)


def test_noise_of_few_interruptions_is_not_a_difference_between_teams() -> None:
    """Clusters with the same rate, four interruptions each: their scatter is what four interruptions scatter by."""
    generator = np.random.default_rng(4)
    logs = 10.8 + generator.normal(0, 0.5, 40)
    few = next_cluster(logs, np.full(40, 4.0), ["one"] * 40, "one")
    many = next_cluster(logs, np.full(40, 1e6), ["one"] * 40, "one")
    assert few.log_sigma < 0.3
    assert many.log_sigma == pytest.approx(0.5, rel=0.2)


def test_nine_of_ten_next_clusters_are_in_the_interval() -> None:
    """Worlds drawn as the model says, of the shipped make: six clusters of one generation, four of another, one."""
    generator, inside, draws = np.random.default_rng(11), 0, 300
    families = ["a"] * 6 + ["b"] * 4 + ["c"]
    for _ in range(draws):
        teams, generations = np.abs(generator.normal(0, math.log(2), 2))
        middle = {name: generator.normal(10.8, generations) for name in "abcd"}
        family = str(generator.choice(list("abcd")))
        true = np.array([generator.normal(middle[one], teams) for one in families])
        counts = generator.integers(20, 500, len(families)).astype(float)
        logs = true + generator.normal(0, 1 / np.sqrt(counts))
        found = next_cluster(logs, counts, families, family)
        inside += abs(generator.normal(middle[family], teams) - found.log_mean) <= NORMAL_90 * found.log_sigma
    assert inside / draws == pytest.approx(0.9, abs=0.05)


def test_published_clusters_are_in_the_interval_of_the_others() -> None:
    published = list(CATALOG.interruptions.values())
    inside = []
    for one in published:
        others = Catalog()
        del others.interruptions[one.name]
        rate = failure_rate(CATALOG.accelerators[one.accelerator], others)
        low, high = rate.told.interval or (0.0, 0.0)
        inside.append(low <= one.hours_per_interruption <= high)
    assert sum(inside) >= 0.9 * len(published)


def stated(name: str, value: float, *ends: float) -> Catalog:
    low, high = ends or (None, None)
    said = Assumption(name=name, value=value, low=low, high=high, unit="hours", date="2026", sources={"*": "mine"})
    return with_assumption(CATALOG, said)


def test_the_user_states_the_rate_of_all_or_of_one_generation() -> None:
    h100, ascend = CATALOG.accelerators["h100-sxm-80g"], CATALOG.accelerators["ascend-910b"]
    everywhere = stated(STATED, 1e5)
    assert [failure_rate(one, everywhere).hours for one in (h100, ascend)] == [1e5, 1e5]
    assert failure_rate(h100, everywhere).log_sigma == 0
    here = stated(f"{STATED}.ascend-910b", 1e5, 5e4, 2e5)
    assert failure_rate(ascend, here).log_sigma == pytest.approx(math.log(2) / NORMAL_90)
    assert failure_rate(h100, here) == failure_rate(h100, CATALOG)


def test_a_cluster_of_the_users_own_counts(tmp_path: Path) -> None:
    (tmp_path / "interruptions").mkdir()
    (tmp_path / "interruptions" / "mine.yaml").write_text(
        "- {name: mine, accelerator: ascend-910b, hours_per_interruption: 200000, interruptions: 50, date: 2026,\n"
        "   sources: {'*': own records}}\n"
    )
    ascend = CATALOG.accelerators["ascend-910b"]
    before, after = failure_rate(ascend, CATALOG), failure_rate(ascend, Catalog([tmp_path]))
    assert before.hours < after.hours < 200_000
    assert after.log_sigma < before.log_sigma
    assert "own records" in after.told.sources["*"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("value: 0", "not above 0"),
        ("value: 5e4, low: 0, high: 1e5", "not above 0"),
        ("value: 5e4, low: 6e4, high: 7e4", "not between low 60000 and high 70000"),
        ("value: 5e4, low: 1e4", "belong together"),
    ],
)
def test_rates_that_mean_nothing_are_refused(record: str, message: str, tmp_path: Path, job: Job) -> None:
    (tmp_path / "assumptions").mkdir()
    said = f"- {{name: {STATED}, {record}, unit: hours, date: 2026, sources: {{'*': mine}}}}\n"
    (tmp_path / "assumptions" / "mine.yaml").write_text(said)
    with pytest.raises(ClusterplanError, match=message):
        plan(job, Catalog([tmp_path]), top=0)


def test_the_rate_is_in_plans_odds_bars_draws_and_assumptions(job: Job) -> None:
    shown = plan(job, CATALOG, top=0).to_json()
    words, rate = shown["assumptions"], failure_rate(CATALOG.accelerators[shown["best"]["hardware"]], CATALOG)
    assert shown["failure_rate"]["value"] == rate.hours
    assert tuple(shown["failure_rate"]["interval"]) == rate.told.interval
    assert any("holds 90% of clusters" in text and "none of ascend-910b is known" in text for text in words)
    found = compare(job, CATALOG, draws=10)
    names = [f"{STATED}.ascend-910b", f"{STATED}.ampere"]
    told = {one["name"]: one for one in found.assumptions()}
    bars = {bar.parameter: bar for bar in found.tornado}
    for name in names:
        assert told[name]["interval"] == [bars[name].low, bars[name].high]
        assert "published clusters" in told[name]["source"]
    assert "bloom-176b (https://" in told[names[1]]["source"]
    assert {one.hardware for one in found.ranking if any("failures:" in risk for risk in found.risks(one))} == {
        "ascend-910b"
    }
    # A cluster on which something fails every few minutes: the draws know, and so do the odds.
    often, rarely = (
        monte_carlo(list(found.ranking), found.now, {STATED: (hours, hours)}, draws=2000, seed=0)
        for hours in (60.0, 3e6)
    )
    for slow, quick in zip(often, rarely, strict=True):
        assert slow.days[1] > 1.1 * quick.days[1]
    frail = replace(job, hardware=("a800-sxm-80g",), deadline_s=20 * 86400.0)
    sure, unsure = (plan(frail, stated(STATED, 500.0, *ends), top=0).best for ends in ((), (100.0, 2500.0)))
    assert (sure.layout, sure.days) == (unsure.layout, unsure.days)
    assert unsure.days_interval[1] > sure.days_interval[1]


def test_the_page_has_the_rates() -> None:
    page = (Path(__file__).parents[2] / "docs" / "goodput.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    told = {row[0]: row for row in rows if len(row) == 4}
    for family, name in (
        ("hopper", "h100-sxm-80g"),
        ("ampere", "a100-sxm-80g"),
        ("tpu", "tpu-v4"),
        ("any other", "b200"),
    ):
        rate = failure_rate(CATALOG.accelerators[name], CATALOG)
        low, high = rate.told.interval or (0.0, 0.0)
        assert told[family][2:] == [f"{rate.hours:,.0f}", f"{low:,.0f} to {high:,.0f}"]
        for one in CATALOG.interruptions.values():
            here = CATALOG.accelerators[one.accelerator].family == family
            assert (f"{one.hours_per_interruption:,.0f}" in told[family][1]) is here
