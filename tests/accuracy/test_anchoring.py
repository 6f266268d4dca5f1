"""What calibrating on a few rows of a source tells of its others."""

from __future__ import annotations

import numpy as np
import pytest

from catalogs.catalog import Catalog
from optimizer.accuracy.anchoring import ANCHOR_ROWS, DRAWS, anchored_errors
from optimizer.calibration.fit import fit, predicted
from optimizer.measured.reading import run_table
from optimizer.measured.table import RunTable
from tests.measured.made import made


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def _table(catalog: Catalog, source: str, seconds_per: float) -> RunTable:
    rows = [
        made(f"{source}-{layers}-{gbs}", seconds_per * layers * gbs / 400.0, source=source, layers=layers, gbs=gbs)
        for layers in (16, 24, 32)
        for gbs in (64, 128)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    return table


def test_three_rows_of_a_slower_cluster_tell_of_its_other_rows(catalog: Catalog) -> None:
    trained = fit(catalog, _table(catalog, "a", 1.0))
    slower = _table(catalog, "b", 1.4)
    before = np.abs(predicted(catalog, slower, trained) / slower.measured_s - 1.0)
    found = anchored_errors(catalog, slower, range(len(slower)), trained, np.random.default_rng(0))
    assert len(found) == DRAWS
    assert {errors.size for errors in found} == {len(slower) - ANCHOR_ROWS}
    assert max(map(np.max, found)) < 0.25 * before.min()


def test_a_source_without_other_rows_says_nothing(catalog: Catalog) -> None:
    table = _table(catalog, "a", 1.0)
    assert not anchored_errors(catalog, table, range(ANCHOR_ROWS), fit(catalog, table), np.random.default_rng(0))
