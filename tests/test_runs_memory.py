"""Memory predictions against the published runs, where those lie beside the repository."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from catalogs import Catalog
from catalogs.runs import Run, read_runs
from optimizer.runs_memory import READINGS, predicted_gib, reading_of
from optimizer.runs_prediction import run_table
from tests.costmodels.bundles import efficiency

RUNS = Path(__file__).parents[2] / "shared" / "runs"


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
        ("papers.csv", "InternEvo", 0.07, 0.25),
        ("papers.csv", "FlagPerf", 0.06, 0.1),
        ("papers_ascend_ci.csv", "", 0.06, 0.21),
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
