"""Assumptions that a user states: senseless values and names that nobody reads are refused, with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs import Catalog
from catalogs.assumption import ABOVE_ZERO, BELOW_ONE, SHARES
from catalogs.errors import DataFileError


def stated(folder: Path, name: str, value: float) -> Catalog:
    (folder / "assumptions").mkdir()
    record = f"- {{name: {name}, value: {value!r}, unit: x, date: '2026', sources: {{'*': mine}}}}\n"
    (folder / "assumptions" / "mine.yaml").write_text(record, encoding="utf-8")
    return Catalog([folder])


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("discount-rate", 8.0, "share between 0 and 1"),
        ("discount-rate", -1.0, "share between 0 and 1"),
        ("residual-share", 1.5, "share between 0 and 1"),
        ("depreciation-years", 0.0, "above 0"),
        ("rack-kw", 0.0, "above 0"),
        ("electricity-usd-per-kwh", -0.1, "not be below 0"),
        ("pue", 0.8, "at least 1"),
        ("spare-availability", 1.0, "below 1"),
    ],
)
def test_senseless_values_are_refused(name: str, value: float, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=rf"mine\.yaml:1: assumption '{name}': .*{complaint}"):
        _ = stated(tmp_path, name, value).assumptions


@pytest.mark.parametrize("name", ["discount-rat", "accelerator-hours-per-failure.hoper"])
def test_a_name_that_nobody_reads_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=rf"unknown assumption '{name}'; did you mean {name[:10]}"):
        _ = stated(tmp_path, name, 0.5).assumptions


@pytest.mark.parametrize("name", ["discount-rate", "accelerator-hours-per-failure.hopper"])
def test_a_users_value_replaces_the_shipped_one(name: str, tmp_path: Path) -> None:
    assert stated(tmp_path, name, 0.5).assumption(name) == 0.5


def test_rules_are_for_assumptions_that_are_shipped() -> None:
    assert set(Catalog().assumptions) >= ABOVE_ZERO | SHARES | BELOW_ONE
