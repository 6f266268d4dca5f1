"""Assumptions: the stated, sourced numbers a plan uses where the user says nothing."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from catalogs.record import Record


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
