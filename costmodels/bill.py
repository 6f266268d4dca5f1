"""Money: what the servers of a run cost, rented or bought."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column

HOUR_S = 3600.0
JOULES_PER_KWH = 3.6e6


def whole_servers(accelerators: Column, per_server: Column) -> Column:
    """Servers that hold ``accelerators``; a started server counts whole."""
    return np.ceil(accelerators / per_server)


def rent_usd(
    servers: Column, per_server: Column, usd_per_accelerator_hour: Column, wall_s: Column, term_s: Column
) -> Column:
    """Rent of whole servers for the run, at least for the committed term.

    Args:
        servers: whole servers rented.
        per_server: accelerators in one.
        usd_per_accelerator_hour: price.
        wall_s: how long the run takes.
        term_s: shortest time that is charged (a year for a one-year reservation, 0 on demand).
    """
    return servers * per_server * (usd_per_accelerator_hour / HOUR_S) * np.maximum(wall_s, term_s)


def purchase_usd(servers: Column, usd_per_server: Column) -> Column:
    """Price of the servers bought for the run, charged in full."""
    return servers * usd_per_server


def energy_usd(servers: Column, server_w: Column, wall_s: Column, pue: Column, usd_per_kwh: Column) -> Column:
    """Electricity of the servers at their rated draw, with the facility's overhead (PUE)."""
    return servers * (server_w * pue / JOULES_PER_KWH * usd_per_kwh) * wall_s
