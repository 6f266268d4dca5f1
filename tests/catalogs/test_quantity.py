"""Quantities with units: round trips, and bad input refused with a good example."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.errors import UsageError
from catalogs.quantity import (
    BYTE_RATE_UNITS,
    BYTE_UNITS,
    COUNT_UNITS,
    DURATION_UNITS,
    FLOP_RATE_UNITS,
    POWER_UNITS,
    parse_positive,
    parse_quantity,
)

TABLES = [BYTE_RATE_UNITS, BYTE_UNITS, COUNT_UNITS, DURATION_UNITS, FLOP_RATE_UNITS, POWER_UNITS]
NUMBERS = st.floats(min_value=-1e30, max_value=1e30, allow_nan=False)


@given(number=NUMBERS, units=st.sampled_from(TABLES), data=st.data(), gap=st.sampled_from(["", " ", "  "]))
def test_number_and_unit_round_trip(number: float, units: dict[str, float], data: st.DataObject, gap: str) -> None:
    unit = data.draw(st.sampled_from(sorted(units)))
    assert parse_quantity(f" {number!r}{gap}{unit} ", units, "x") == number * units[unit]


@given(number=NUMBERS, units=st.sampled_from(TABLES))
def test_a_bare_number_is_already_si(number: float, units: dict[str, float]) -> None:
    assert parse_quantity(number, units, "x") == number
    assert parse_quantity(repr(number), units, "x") == number


@given(number=st.integers(min_value=0, max_value=10**15))
def test_thousands_may_be_set_apart(number: int) -> None:
    assert parse_quantity(f"{number:,}", COUNT_UNITS, "x") == number


@pytest.mark.parametrize("text", ["3,5", "0,500", "1,0000", "12,34,567", "1,000,00"])
def test_other_commas_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_quantity(text, COUNT_UNITS, "x")


@given(number=st.integers(min_value=0, max_value=10**15))
def test_digits_may_be_grouped(number: int) -> None:
    assert parse_quantity(f"{number:_}", COUNT_UNITS, "x") == number


@given(text=st.text(max_size=12))
def test_any_text_gives_a_finite_number_or_a_usage_error(text: str) -> None:
    for units in TABLES:
        try:
            number = parse_quantity(text, units, "x")
        except UsageError:
            continue
        assert math.isfinite(number)


@pytest.mark.parametrize(
    ("text", "units", "expected"),
    [
        ("70B", COUNT_UNITS, 70e9),
        ("2T", COUNT_UNITS, 2e12),
        ("512K", COUNT_UNITS, 512e3),
        ("80GB", BYTE_UNITS, 80e9),
        ("80GiB", BYTE_UNITS, 80 * 2**30),
        ("400Gbps", BYTE_RATE_UNITS, 50e9),
        ("3.35TB/s", BYTE_RATE_UNITS, 3.35e12),
        ("989.5TFLOP/s", FLOP_RATE_UNITS, 989.5e12),
        ("312TFLOPS", FLOP_RATE_UNITS, 312e12),
        ("10.2kW", POWER_UNITS, 10.2e3),
        ("90d", DURATION_UNITS, 90 * 86400),
        ("5us", DURATION_UNITS, 5e-6),
        (".5h", DURATION_UNITS, 1800),
    ],
)
def test_known_quantities(text: str, units: dict[str, float], expected: float) -> None:
    assert parse_quantity(text, units, "x") == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("value", ["", "x", "GB", "--5GB", "nan", "inf", None, True, [], {}])
def test_what_is_no_number_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(UsageError, match=r"memory: .* is not a number.*write for example 80GB"):
        parse_quantity(value, BYTE_UNITS, "memory")


@pytest.mark.parametrize("value", [math.inf, math.nan, "1e999", 10**400, "1e308TB"])
def test_what_overflows_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="not a finite number"):
        parse_quantity(value, BYTE_UNITS, "memory")


@pytest.mark.parametrize("unit", [",5GB", " 2GB", "gb", "Gb", "GHz", "TFLOP/s", "GBs"])
def test_an_unknown_unit_is_refused_with_the_known_ones(unit: str) -> None:
    with pytest.raises(UsageError, match=rf"unit '{unit.strip()}' of '80{unit}' makes no sense here; use one of B, kB"):
        parse_quantity(f"80{unit}", BYTE_UNITS, "memory")


def test_a_unit_can_be_demanded() -> None:
    with pytest.raises(UsageError, match="--deadline: '90' has no unit; write one of ns, us, ms, s, min, h, d, w, y"):
        parse_quantity("90", DURATION_UNITS, "--deadline", bare=False)


@pytest.mark.parametrize("value", ["0", "-1", "0B", 0, -2.5])
def test_positive_means_above_zero(value: object) -> None:
    with pytest.raises(UsageError, match="must be above zero"):
        parse_positive(value, COUNT_UNITS, "--tokens")
