"""Fits recover what made the rows, and know nothing of what is held apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalogs.catalog import Catalog
from optimizer.accuracy.validate import validate
from optimizer.calibration.constants import CONSTANTS
from optimizer.calibration.fit import fit, predicted
from optimizer.calibration.folds import by_group, by_model, by_source, dealt
from optimizer.calibration.parts import Fit, Unknowns, level_keys
from optimizer.calibration.profiles import calibrated, to_yaml
from optimizer.measured.reading import run_table
from tests.measured.made import made


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def test_fit_recovers_the_speed_of_made_up_runs(catalog: Catalog) -> None:
    rows = [
        made(f"{layers}-{gbs}-{tp}", 1.0, layers=layers, gbs=gbs, tp=tp)
        for layers in (16, 24, 32)
        for gbs in (64, 128)
        for tp in (1, 2, 4)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    truth = 0.8 * predicted(catalog, table, Fit())
    timed = [row.model_copy(update={"step_s": float(s)}) for row, s in zip(rows, truth, strict=True)]
    table, _ = run_table(catalog, timed)
    assert table is not None
    fitted = fit(catalog, table)
    np.testing.assert_allclose(predicted(catalog, table, fitted), truth, rtol=0.03)
    for name, value in fitted.values(level_keys(catalog, "h100-sxm-80g", "megatron-lm", "bf16")).items():
        assert CONSTANTS[name].low < value < CONSTANTS[name].high


def test_calibrated_profiles_can_be_read_back(catalog: Catalog, tmp_path: Path) -> None:
    rows = [made(f"{tp}-{gbs}", gbs / 20.0, tp=tp, gbs=gbs) for tp in (1, 2) for gbs in (64, 128)]
    table, _ = run_table(catalog, rows)
    assert table is not None
    (profile,) = calibrated(catalog, table, date="2026-11-21")
    assert profile.rows == 4
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(to_yaml([profile]), encoding="utf-8")
    own = Catalog([tmp_path])
    assert own.profiles[profile.name] == profile
    before, after = (np.abs(np.log(validate(c, rows).predicted_s / table.measured_s)).mean() for c in (catalog, own))
    assert after < before


def test_own_history_of_ten_rows_becomes_a_profile_of_the_own_cluster(catalog: Catalog, tmp_path: Path) -> None:
    """A cluster that is a quarter slower than the shipped profile says, on rows that the calibration has not seen."""
    rows = [
        made(
            f"{tp}-{gbs}-{layers}",
            1.0,
            tp=tp,
            gbs=gbs,
            layers=layers,
            n_accel=8 * tp,
            source="us",
            software="nemo-25.07",
        )
        for tp in (1, 2, 4)
        for gbs in (64, 128)
        for layers in (16, 24, 32)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    truth = 1.25 * validate(catalog, rows).predicted_s
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(rows)))
    rows = [row.model_copy(update={"step_s": float(s)}) for row, s in zip(rows, truth * noise, strict=True)]
    known, _ = run_table(catalog, rows[:10])
    assert known is not None
    (profile,) = calibrated(catalog, known, date="2026-11-21")
    assert profile.campaigns == ("us",)
    assert profile.cluster_log_sigma == 0.0
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(to_yaml([profile]), encoding="utf-8")
    judged = validate(Catalog([tmp_path]), rows[10:])
    assert judged.scores()["dense"].median <= 0.05


def test_groups_and_sources_are_never_split(catalog: Catalog) -> None:
    rows = [
        made(f"{source}-{layers}-{gbs}", 5.0, source=source, layers=layers, gbs=gbs)
        for source in "abc"
        for layers in (16, 32)
        for gbs in (64, 128)
    ]
    table, _ = run_table(catalog, rows)
    assert table is not None
    for key, count in ((by_group, 6), (by_model, 2), (by_source, 3)):
        fold = dealt(table, 0, key=key)
        assert len(set(fold)) == count
        assert len({(key(run), part) for run, part in zip(table.runs, fold, strict=True)}) == count


def test_a_fit_does_not_see_rows_of_adapters(catalog: Catalog) -> None:
    rows = [made(f"{n}", 2.0 + n / 10, framework="nemo", gbs=64 * n) for n in (1, 2, 3)]
    slow = made("slow", 1e4, framework="nemo", task="lora")
    tables = [run_table(catalog, some)[0] for some in (rows, [*rows, slow])]
    assert tables[0] is not None
    assert tables[1] is not None
    first, second = (fit(catalog, table) for table in tables)
    assert all(np.array_equal(first.parts[place], second.parts[place]) for place in first.parts)


def test_sums_of_a_fit_run_in_one_order_whatever_order_its_rows_name_combinations_in(catalog: Catalog) -> None:
    """Else the last digits of profiles would change from process to process, with the order of sets."""
    keys = [level_keys(catalog, a, "megatron-lm", "bf16") for a in ("h100-sxm-80g", "a100-sxm-80g", "b200")]
    labels = [("switch", "dense", "nemo", "compile"), ("release", "moe", "nemo", "25.07")]
    one = Unknowns.of(keys, labels)
    assert one == Unknowns.of(keys[::-1], labels[::-1])
    vector = np.arange(float(one.precisions.size))
    assert np.array_equal(one.vector(one.fit(vector)), vector)
