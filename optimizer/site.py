"""Sites: hardware, network and software of one kind, with the offers for it.

A *site* is everything the physics depends on. Offers that differ only in price share one site, so that seconds and
bytes are computed once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from catalogs.accelerator import Accelerator
from catalogs.fabric import Fabric
from catalogs.framework import Framework
from catalogs.offer import Offer
from catalogs.profile import Precision, Profile
from catalogs.server import Server


@dataclass(frozen=True)
class Price:
    """An offer in USD.

    Attributes:
        offer: the catalog record.
        usd: per accelerator-hour for rent, per server for purchase.
    """

    offer: Offer
    usd: float

    @property
    def bought(self) -> bool:
        """Whether the servers are bought."""
        return self.offer.tenure == "purchase"


@dataclass(frozen=True)
class Site:
    """Hardware, network and software of one kind, and the offers for it.

    Attributes:
        accelerator, server, fabric, framework, profile: catalog records.
        profile_note: how the profile was found, in words ("" when it was fitted for exactly this).
        precision: training precision.
        server_accelerators: accelerators in the smallest unit that is paid for.
        scale_out_bytes_per_s: network per accelerator.
        multi_server: whether servers may be combined.
        prices: offers in USD.
        notes: what was assumed about the hardware.
        spot: whether the provider may take servers back.
    """

    accelerator: Accelerator
    server: Server
    fabric: Fabric
    framework: Framework
    profile: Profile
    profile_note: str
    precision: Precision
    server_accelerators: int
    scale_out_bytes_per_s: float
    multi_server: bool
    prices: tuple[Price, ...]
    notes: tuple[str, ...] = field(default=())
    spot: bool = False

    @property
    def max_accelerators(self) -> float:
        """Largest cluster the network allows."""
        return float("inf") if self.multi_server else float(self.server_accelerators)


@dataclass(frozen=True)
class Refusal:
    """Something that was not considered, and why."""

    what: str
    reason: str
