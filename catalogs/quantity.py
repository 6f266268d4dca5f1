"""Human units at the edge: one parser and the pydantic field types built on it.

Inside the product every number is SI (bytes, seconds, FLOP, FLOP/s, watts, USD); this module is the
only place where ``80GiB``, ``312TFLOP/s``, ``400Gbps`` or ``90d`` become such numbers.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

from catalogs.errors import UsageError

_GROUPED = r"[1-9]\d{0,2}(?:,\d{3})+(?!\d)\.?\d*"
"""A number with commas between thousands: 3,000,000."""

_NUMBER = re.compile(rf"^\s*([+-]?(?:{_GROUPED}|\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_PREFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}

COUNT_UNITS: dict[str, float] = dict(_DECIMAL)
"""Suffixes of a plain count: ``70B``, ``2T``, ``512K``."""

BYTE_UNITS: dict[str, float] = {f"{p}B": f for p, f in (_PREFIX | _BINARY).items()}
BYTE_RATE_UNITS: dict[str, float] = {f"{p}B/s": f for p, f in (_PREFIX | _BINARY).items()} | {
    f"{p}bps": f / 8 for p, f in _PREFIX.items()
}
FLOP_RATE_UNITS: dict[str, float] = {f"{p}FLOP/s": f for p, f in _PREFIX.items()} | {
    f"{p}FLOPS": f for p, f in _PREFIX.items()
}
POWER_UNITS: dict[str, float] = {"W": 1.0, "kW": 1e3, "MW": 1e6}
DURATION_UNITS: dict[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365.25 * 86400.0,
}


def parse_quantity(value: object, units: dict[str, float], what: str, *, bare: bool = True) -> float:
    """Turn ``value`` (number or text such as ``80GiB``) into the SI number that ``units`` defines.

    Args:
        value: an int, a float, or a text: number plus one of the suffixes in ``units``.
        units: suffix to factor; ``""`` is a legal suffix.
        what: the name of the quantity, for the message.
        bare: whether a number without suffix is accepted as already SI.

    Raises:
        UsageError: the text has no number, an unknown suffix, or the number is not finite.

    >>> parse_quantity("80GiB", BYTE_UNITS, "memory")
    85899345920.0
    >>> parse_quantity("400Gbps", BYTE_RATE_UNITS, "bandwidth")
    50000000000.0
    """
    if isinstance(value, bool) or value is None:
        raise UsageError(f"{what}: {value!r} is not a number; write for example {_example(units)}")
    if isinstance(value, int | float):
        number, suffix = _as_float(value), ""
    else:
        match = _NUMBER.match(str(value))
        if match is None:
            raise UsageError(f"{what}: {value!r} is not a number with a unit; write for example {_example(units)}")
        number, suffix = float(match[1].replace("_", "").replace(",", "")), match[2]
    if suffix == "" and not bare and "" not in units:
        raise UsageError(f"{what}: {value!r} has no unit; write one of {', '.join(units)}")
    if suffix and suffix not in units:
        known = ", ".join(u for u in units if u)
        raise UsageError(f"{what}: unit {suffix!r} of {value!r} makes no sense here; use one of {known}")
    quantity = number * units.get(suffix, 1.0)
    if not math.isfinite(quantity):
        raise UsageError(f"{what}: {value!r} is not a finite number")
    return quantity


def parse_positive(value: object, units: dict[str, float], what: str, *, bare: bool = True) -> float:
    """As :func:`parse_quantity`, and the result must be above zero.

    >>> parse_positive("70B", COUNT_UNITS, "--tokens")
    70000000000.0
    """
    number = parse_quantity(value, units, what, bare=bare)
    if number <= 0:
        raise UsageError(f"{what}: {value!r} must be above zero")
    return number


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _example(units: dict[str, float]) -> str:
    return "80" + next((u for u in ("GB", "GB/s", "TFLOP/s", "kW", "d", "B") if u in units), "")


def _field(units: dict[str, float], what: str) -> BeforeValidator:
    def convert(value: object) -> float:
        try:
            return parse_quantity(value, units, what)
        except UsageError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(convert)


Bytes = Annotated[float, _field(BYTE_UNITS, "bytes")]
BytesPerSecond = Annotated[float, _field(BYTE_RATE_UNITS, "bytes per second")]
FlopPerSecond = Annotated[float, _field(FLOP_RATE_UNITS, "FLOP/s")]
Watts = Annotated[float, _field(POWER_UNITS, "power")]
Seconds = Annotated[float, _field(DURATION_UNITS, "duration")]
Count = Annotated[float, _field(COUNT_UNITS, "count")]
