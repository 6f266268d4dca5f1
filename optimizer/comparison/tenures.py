"""Ways of paying as a comparison ranks them, and the offers behind each."""

from __future__ import annotations

from typing import Literal, get_args

from catalogs.offer import Tenure as Paying

Tenure = Literal["rent", "spot", "reserved", "buy"]

PAYING: dict[Tenure, tuple[Paying, ...]] = {
    "rent": ("on_demand", "capacity_block"),
    "spot": ("spot",),
    "reserved": ("reserved_1y", "reserved_3y"),
    "buy": ("purchase",),
}
"""Offers behind each tenure."""

TENURES: tuple[Tenure, ...] = get_args(Tenure)
