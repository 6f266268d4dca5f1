"""Assumptions: the stated, sourced numbers a plan uses where the user says nothing."""

from __future__ import annotations

from catalogs.record import Record


class Assumption(Record):
    """A default the plan rests on; override it by a record of the same name in a catalog directory.

    Attributes:
        value: the number, in ``unit``.
        unit: its unit in words.
    """

    value: float
    unit: str
