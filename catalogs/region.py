"""Regions: what electricity costs there, and the carbon dioxide behind it."""

from __future__ import annotations

from pydantic import Field

from catalogs.record import Record


class Region(Record):
    """Where a cluster may stand.

    Attributes:
        electricity_per_kwh: price for industry or data centres, in ``currency``.
        currency: ISO code.
        carbon_kg_per_kwh: CO2 equivalents of the grid's average kWh; absent where no source was found.
    """

    electricity_per_kwh: float = Field(gt=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    carbon_kg_per_kwh: float | None = Field(default=None, ge=0)
