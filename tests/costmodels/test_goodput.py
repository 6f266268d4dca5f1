"""Goodput against a discrete-event simulation, its optimum, and what published runs report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.catalog import Catalog
from costmodels.columns import Column
from costmodels.goodput import (
    Reliability,
    Resilience,
    checkpoint_stall_s,
    expected_goodput,
    goodput,
    log_sigma,
    lost_time_sigma_s,
    optimal_interval_s,
    spares_needed,
)


def number(value: float) -> Column:
    return np.asarray(float(value))


def simulate(
    generator: np.random.Generator,
    work_s: float,
    mtbi_s: float,
    interval_s: float,
    checkpoint_s: float,
    restart_s: float,
) -> float:
    """Wall-clock seconds of one run, event by event: work, checkpoint, failure, restart (which may fail too)."""
    clock = saved = 0.0
    failure = generator.exponential(mtbi_s)
    while saved < work_s:
        todo = min(interval_s, work_s - saved)
        end = clock + todo + checkpoint_s
        if failure >= end:
            clock, saved = end, saved + todo
            continue
        clock = failure
        while True:  # a restart that is hit begins again
            failure = clock + generator.exponential(mtbi_s)
            if failure >= clock + restart_s:
                clock += restart_s
                break
            clock = failure
    return clock


CASES = [
    (10_000.0, 1_000.0, 30.0, 600.0),
    (11_000.0, 250.0, 3.0, 600.0),
    (50_000.0, 3_000.0, 120.0, 3_600.0),
    (3_000.0, 500.0, 60.0, 900.0),
]


@pytest.mark.parametrize(("mtbi", "interval", "checkpoint", "restart"), CASES)
def test_expected_goodput_is_that_of_the_simulation(
    mtbi: float, interval: float, checkpoint: float, restart: float
) -> None:
    generator = np.random.default_rng(20061)
    work = 400 * mtbi // interval * interval
    walls = np.array([simulate(generator, work, mtbi, interval, checkpoint, restart) for _ in range(40)])
    ours = float(goodput(*(number(one) for one in (mtbi, interval, checkpoint, restart))))
    error = walls.std() / np.sqrt(len(walls)) / walls.mean()
    assert work / walls.mean() == pytest.approx(ours, rel=4 * error)


def test_spread_of_the_simulation() -> None:
    generator = np.random.default_rng(7)
    mtbi, interval, checkpoint, restart = 11_000.0, 250.0, 3.0, 600.0
    work = 100_000 // interval * interval * 4
    walls = np.array([simulate(generator, work, mtbi, interval, checkpoint, restart) for _ in range(1500)])
    sigma = float(lost_time_sigma_s(number(work), number(mtbi), number(interval), number(restart)))
    assert walls.std() == pytest.approx(sigma, rel=0.15)  # first order in τ / M, and in restarts that are hit


@pytest.mark.parametrize(
    ("mtbi", "checkpoint"), [(10_000.0, 3.0), (10_000.0, 60.0), (2_000.0, 60.0), (100_000.0, 300.0)]
)
def test_the_interval_loses_least(mtbi: float, checkpoint: float) -> None:
    best = float(optimal_interval_s(number(mtbi), number(checkpoint)))
    tried = best * np.geomspace(0.2, 5.0, 2001)
    shares = goodput(number(mtbi), tried, number(checkpoint), number(600))
    assert tried[np.argmax(shares)] == pytest.approx(best, rel=0.02)


def test_the_interval_loses_least_in_the_simulation() -> None:
    """Against the simulation itself, with the same failures for every interval (common random numbers)."""
    mtbi, checkpoint, restart = 10_000.0, 60.0, 600.0
    best = float(optimal_interval_s(number(mtbi), number(checkpoint)))
    means = []
    for factor in (0.4, 1.0, 2.5):
        generator = np.random.default_rng(99)
        means.append(np.mean([simulate(generator, 2e6, mtbi, factor * best, checkpoint, restart) for _ in range(60)]))
    assert means[1] < min(means[0], means[2])


HOUR = 3600.0
# Published inputs of each run: accelerators, hours per accelerator between interruptions, restart (s), stall per
# checkpoint (s), the stated share, and whether it is stated as a bound ("more than 90%"). docs/goodput.md has the
# sources, which inputs are the runs' own, and the runs whose inputs nobody published.
PUBLISHED = {
    "llama-3.1-405b": (16384, 50_677.0, 600.0, 2.8, 0.90, True),
    "megascale": (10_000, 50_677.0, 900.0, 3.0, 0.90, True),
    "byterobust-dense": (9_600, 50_677.0, 600.0, 0.04, 0.97, False),
    "ascend-10k": (10_000, 240_000.0, 600.0, 3.0, 0.98, False),
}


@pytest.mark.parametrize("run", PUBLISHED)
def test_published_effective_time(run: str) -> None:
    accelerators, hours, restart, stall, stated, bound = PUBLISHED[run]
    reliability = Reliability.from_values(
        failures_per_accelerator_s=1 / (hours * HOUR), restart_s=restart, checkpoint_s=stall
    )
    ours = float(expected_goodput(reliability, number(accelerators)))
    assert ours >= stated - 0.03
    if not bound:
        assert ours <= stated + 0.03


CLUSTERS = {"llama": 50_677, "rsc-1": 29_538, "rsc-2": 82_051, "bloom": 43_008, "imbue": 44_800}
"""Accelerator-hours per interruption behind the shipped rate (catalogs/data/assumptions/reliability.yaml)."""


def test_published_effective_time_without_the_runs_own_figures() -> None:
    """The table of docs/goodput.md: shipped assumptions, the failure rate without the run that is predicted."""
    assumed = Catalog().assumption
    page = (Path(__file__).parents[2] / "docs" / "goodput.md").read_text("utf-8")
    page = page[page.index("## Predicted without looking") : page.index("## With the runs' own figures")]
    assert assumed("accelerator-hours-per-failure") == pytest.approx(
        np.exp(np.mean(np.log([*CLUSTERS.values()]))), rel=1e-3
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 9
    within = 0
    for name, accelerators, parameters, stated, predicted, verdict in rows:
        hours = [h for cluster, h in CLUSTERS.items() if not name.lower().startswith(cluster)]
        ours = Resilience.from_values(
            failures_per_accelerator_s=1 / (np.exp(np.mean(np.log(hours))) * HOUR),
            rate_log_sigma=0.0,
            restart_s=assumed("restart-s"),
            checkpoint_bytes=14 * float(parameters.split()[0]),
            accelerator_bytes_per_s=assumed("checkpoint-bytes-per-s-per-accelerator"),
            longest_checkpoint_s=assumed("checkpoint-write-s"),
        ).goodput(number(int(accelerators.replace(",", ""))))
        assert predicted == f"{float(ours):.1%}", name
        share, bound = float(stated.strip("> %")) / 100, stated.startswith(">")
        near = float(ours) >= share - 0.03 and (bound or float(ours) <= share + 0.03)
        assert verdict.startswith("yes") is near, name
        within += near
    assert within == 5


@settings(max_examples=100, deadline=None)
@given(
    accelerators=st.integers(8, 100_000),
    hours=st.floats(5_000, 200_000),
    restart=st.floats(1, 7200),
    stall=st.floats(0.01, 600),
)
def test_more_accelerators_faster_failures_and_dearer_restarts_never_help(
    accelerators: int, hours: float, restart: float, stall: float
) -> None:
    def share(n: float = 1.0, rate: float = 1.0, again: float = 1.0) -> float:
        reliability = Reliability.from_values(
            failures_per_accelerator_s=rate / (hours * HOUR), restart_s=restart * again, checkpoint_s=stall
        )
        return float(expected_goodput(reliability, number(accelerators * n)))

    base = share()
    assert 0 <= base < 1
    # Daly's interval is optimal to a few hundredths of a percent, not exactly.
    assert share(n=1.1) <= base * (1 + 1e-3)
    assert share(rate=1.1) <= base * (1 + 1e-3)
    assert share(again=1.1) <= base


def test_a_checkpoint_stalls_by_its_bytes_and_the_storage_of_the_cluster() -> None:
    def stall(size: float, accelerators: float) -> float:
        return float(checkpoint_stall_s(number(size), number(accelerators), number(1e8), number(60)))

    assert stall(70e9 * 14, 1000) == pytest.approx(9.8)
    assert stall(140e9 * 14, 1000) == pytest.approx(2 * 9.8)
    assert stall(70e9 * 14, 8) == 60


def test_spares_hold_the_availability() -> None:
    servers, rate, repair = number(128), number(8 / (50_677 * HOUR)), number(3 * 24 * HOUR)
    wanted = np.array([0.5, 0.9, 0.99, 0.999])
    spares = spares_needed(servers, rate, repair, wanted)
    generator = np.random.default_rng(3)
    broken = generator.poisson(float(servers * rate * repair), 400_000)
    for one, availability in zip(spares, wanted, strict=True):
        assert (broken <= one).mean() >= availability - 0.002
        assert one == 0 or (broken <= one - 1).mean() < availability + 0.002


def test_spares_of_very_large_clusters_follow_on_without_a_step() -> None:
    """Above 500 servers in repair the Poisson law is taken as normal: the same spares to one."""
    servers = np.arange(30_000.0, 60_000.0, 100.0)
    spares = spares_needed(servers, number(1 / 80), number(1.0), number(0.99))
    assert (np.abs(np.diff(spares, 2)) <= 2).all()
    assert np.all(np.diff(spares) >= 0)


def test_an_uncertain_rate_widens_the_days() -> None:
    narrow = log_sigma(number(0.93), number(0.0), number(1e6), number(5e3))
    wide = log_sigma(number(0.93), number(0.8), number(1e6), number(5e3))
    assert float(narrow) == pytest.approx(0.93 * 5e3 / 1e6)
    assert float(wide) > 0.05
