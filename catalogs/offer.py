"""Price offers: what somebody asks for an accelerator or a server, and when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from catalogs.quantity import BytesPerSecond
from catalogs.record import Record

Tenure = Literal["on_demand", "spot", "reserved_1y", "reserved_3y", "capacity_block", "purchase"]
PriceUnit = Literal["accelerator_hour", "server_hour", "server"]


class Offer(Record):
    """One dated price.

    Attributes:
        provider: who sells it.
        region: where, as the provider writes it.
        instance: the provider's product name.
        accelerator: catalog name of the accelerator.
        accelerators_per_server: how many come in the smallest unit sold.
        tenure: rent by the hour, commitment, or purchase.
        price: amount in ``currency`` per ``unit``.
        unit: ``accelerator_hour`` or ``server_hour`` for rent, ``server`` for purchase.
        scale_out_bytes_per_s_per_accelerator: network of the instance; absent when not stated.
        training_grade: False when the offer is known not to have an RDMA network between servers;
            None when nobody says.
        max_servers: availability cap, if stated.
        min_servers: fewest servers that are let together, if more than one.
        min_hours: shortest rental that is charged, beyond the commitment of the tenure.
    """

    provider: str
    region: str = ""
    instance: str = ""
    accelerator: str
    accelerators_per_server: PositiveInt
    tenure: Tenure
    price: float = Field(gt=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    unit: PriceUnit
    scale_out_bytes_per_s_per_accelerator: BytesPerSecond | None = Field(default=None, gt=0)
    training_grade: bool | None = None
    max_servers: PositiveInt | None = None
    min_servers: PositiveInt | None = None
    min_hours: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _unit_fits_tenure(self) -> Offer:
        if (self.tenure == "purchase") != (self.unit == "server"):
            raise ValueError(f"a {self.tenure} offer cannot be priced per {self.unit}")
        if self.min_servers is not None and self.max_servers is not None and self.min_servers > self.max_servers:
            raise ValueError(f"min_servers {self.min_servers} is above max_servers {self.max_servers}")
        return self


class Currency(Record):
    """How many USD one unit of a currency is worth, on a date (``name`` is the lower-case ISO code)."""

    usd: float = Field(gt=0)
