"""Assumptions: the stated, sourced numbers a plan uses where the user says nothing."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from catalogs.record import Record

FAILURE_HOURS = "accelerator-hours-per-failure"
"""The user's own, of all accelerators or with ``.FAMILY`` of one; shipped rates come of ``interruptions/``."""

ABOVE_ZERO = frozenset(
    {
        "batch-tokens",
        "checkpoint-bytes-per-s-per-accelerator",
        "checkpoint-write-s",
        "depreciation-years",
        "rack-kw",
        "storage-bytes-per-s-per-tb",
        "storage-rent-bytes-per-s-per-tb",
        "storage-rent-most-bytes-per-s-per-tb",
    }
)
"""Assumptions that something is divided by."""

SHARES = frozenset({"discount-rate", "operations-share", "replica-share", "residual-share"})
"""Assumptions that are a share of something: 8% is 0.08."""


BELOW_ONE = frozenset({"spare-availability", "spot-share-taken-per-month"})
"""Shares whose rest, the other servers or the other times, must not vanish."""


def impossible(name: str, value: float) -> str | None:
    """Why no assumption of that name has such a value; None where one may.

    >>> impossible("residual-share", 25.0)
    'is a share between 0 and 1 (8% is 0.08), not 25'
    """
    if name in ABOVE_ZERO and not value > 0:
        return f"must be above 0, not {value:g}"
    if name in SHARES and not 0 <= value <= 1:
        return f"is a share between 0 and 1 (8% is 0.08), not {value:g}"
    if name in BELOW_ONE and not 0 <= value < 1:
        return f"is from 0 to below 1 (8% is 0.08), not {value:g}"
    if name == "pue" and not value >= 1:
        return f"is the facility's power over that of its IT, so at least 1, not {value:g}"
    return None if value >= 0 else f"must not be below 0, not {value:g}"


class Assumption(Record):
    """A default the plan rests on; override it by a record of the same name in a catalog directory.

    Attributes:
        value: the number, in ``unit``.
        unit: its unit in words.
        low, high: hold it with a probability of 90%; absent where it is taken as certain.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _values_are_possible(self) -> Assumption:
        for field, value in (("value", self.value), ("low", self.low), ("high", self.high)):
            if value is not None and (complaint := impossible(self.name, value)):
                raise ValueError(f"{field} {complaint}")
        return self

    @model_validator(mode="after")
    def _interval_holds_value(self) -> Assumption:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high belong together: give both or neither")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value:g} is not between low {self.low:g} and high {self.high:g}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Name, value with interval, and where it comes from."""
        return {
            "name": self.name,
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "unit": self.unit,
            "estimated": bool(self.estimated),
            "date": self.date,
            "source": self.sources["*"],
        }

    @property
    def interval(self) -> tuple[float, float] | None:
        """``low`` and ``high``."""
        return None if self.low is None or self.high is None else (self.low, self.high)
