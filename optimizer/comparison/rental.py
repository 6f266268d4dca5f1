"""What renting servers costs in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalogs.offer import Offer
from costmodels.bill import HOUR_S, rent_usd
from costmodels.columns import Column
from costmodels.finance import MONTH_H
from costmodels.goodput import Resilience
from costmodels.storage import store_bytes, store_rent_usd
from optimizer.comparison.conditions import Conditions
from optimizer.comparison.ownership import Values, stored_bytes
from optimizer.tariff import term_s


@dataclass(frozen=True)
class Rental:
    """Rented servers of some sizes, and what is paid besides: storage while the run lasts, and moving the model out."""

    offer: Offer
    servers: Column
    server_accelerators: int
    kept_bytes: float
    moved_bytes: float
    storage_bytes_per_s: Column

    @classmethod
    def of(cls, offer: Offer, servers: Column, size: int, now: Conditions, survival: Resilience) -> Rental:
        """Clusters of so many servers of a size, for a job."""
        kept, moved = stored_bytes(now.job, survival, now.catalog), float(survival.checkpoint_bytes)
        return cls(offer, servers, size, kept, moved, survival.bytes_per_s(servers * size))

    def storage_bytes(self, values: Values) -> Column:
        """Capacity of the storage, of what is kept or of what the bandwidth needs."""
        most = values["storage-rent-most-bytes-per-s-per-tb"] / 1e12
        return store_bytes(np.asarray(self.kept_bytes), self.storage_bytes_per_s, most)

    def bill(self, values: Values, days: Column) -> dict[str, Column]:
        """USD by component: whole servers, at least the fewest that are let and for the shortest term."""
        offer = self.offer
        per_unit = offer.accelerators_per_server if offer.unit == "server_hour" else 1
        hourly = values["price"] * values["fx"] / per_unit
        servers = np.maximum(self.servers, float(offer.min_servers or 1))
        size, term = np.asarray(float(self.server_accelerators)), np.asarray(term_s(offer))
        monthly = store_rent_usd(
            self.storage_bytes(values),
            self.storage_bytes_per_s,
            values["storage-rent-usd-per-tb-month"] / 1e12,
            values["storage-rent-bytes-per-s-per-tb"] / 1e12,
            values["storage-rent-usd-per-gb-s-month"] / 1e9,
        )
        return {
            "rent": rent_usd(servers, size, hourly, days * 24.0 * HOUR_S, term),
            "storage": monthly * days * 24.0 / MONTH_H,
            "egress": self.moved_bytes / 1e9 * values["egress-usd-per-gb"] * np.ones_like(days),
        }
