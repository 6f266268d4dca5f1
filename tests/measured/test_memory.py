"""Memory predictions against the published runs, where those lie beside the repository."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from catalogs import Catalog
from catalogs.runs import Run, read_runs
from optimizer.accuracy.memory import Memory
from optimizer.accuracy.validate import validate
from optimizer.measured.memory import predicted_gib
from optimizer.measured.memory_readings import READINGS, reading_of
from optimizer.measured.reading import run_table
from tests.costmodels.bundles import efficiency
from tests.measured.made import RUNS, shown_runs


def measured(file: str, source: str) -> list[Run]:
    if not (RUNS / file).exists():
        pytest.skip(f"no {file} beside the repository")
    return [run for run in read_runs(RUNS / file) if run.mem_gib and run.source.startswith(source)]


@pytest.mark.parametrize(
    ("file", "source", "median", "low"),
    [
        ("simumax.csv", "", 0.01, 0.0),
        ("torchtitan.csv", "", 0.06, 0.04),
        ("papers.csv", "BigScience", 0.035, 0.0),
        ("papers.csv", "InternEvo", 0.065, 0.0),
        ("papers.csv", "FlagPerf", 0.04, 0.0),
        ("papers_ascend_ci.csv", "", 0.05, 0.07),
    ],
)
def test_error_of_source(file: str, source: str, median: float, low: float) -> None:
    """Median absolute error, and the share of rows predicted more than 10% too low."""
    table, _ = run_table(Catalog(), measured(file, source), timed=False)
    assert table is not None
    with np.errstate(all="ignore"):
        predicted = predicted_gib(table, efficiency())
    error = np.array([predicted[reading_of(run)][i] / (run.mem_gib or np.nan) - 1 for i, run in enumerate(table.runs)])
    assert np.median(np.abs(error)) <= median
    assert np.mean(error < -0.1) <= low
    # What the device holds is never less than what the allocator reserves, nor that than what lives in it.
    ordered = [predicted[name] for name in ("first step", "allocated", "reserved", "device")]
    assert set(READINGS) == {"first step", "allocated", "reserved", "device"}
    assert np.all(predicted["allocated"] <= predicted["needed"])
    assert all(np.all(small <= large) for small, large in pairwise(ordered))


@pytest.fixture(scope="module")
def memory() -> Memory:
    """Of every published run."""
    if not RUNS.exists():
        pytest.skip("no runs beside the repository")
    found = validate(Catalog(), shown_runs()).memory
    assert found is not None
    return found


@pytest.mark.slow
def test_whole_fleet(memory: Memory) -> None:
    """Hardly a row is predicted far too low, and hardly one that ran is denied its memory."""
    assert memory.scores()["all"].low <= 0.03
    assert memory.denied <= 0.01
    assert memory.denied_measured <= 0.005


@pytest.mark.slow
def test_deviations_are_those_of_the_residuals(memory: Memory) -> None:
    """The catalog carries what the runs say, and nine of ten lie within, on groups that were not looked at."""
    frameworks = Catalog().frameworks
    for name, sigma in memory.learned_sigmas().items():
        if name:
            assert frameworks[name].memory_log_sigma == pytest.approx(sigma, abs=0.004), name
    assert 0.87 <= memory.held_apart(8, seed=0).scores()["all"].coverage <= 0.93
