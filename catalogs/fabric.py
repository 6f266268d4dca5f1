"""Fabrics: the network between servers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from catalogs.quantity import BytesPerSecond, Seconds
from catalogs.record import Record


class Fabric(Record):
    """A scale-out network.

    Attributes:
        kind: technology; ``ethernet`` without RDMA is not training grade.
        port_bytes_per_s: of one switch port, one direction.
        radix: ports of one switch.
        oversubscription: leaf down-links over up-links (1 = full bisection).
        latency_s: of one message end to end inside one leaf.
        training_grade: whether multi-server training over it is sensible (RDMA, congestion control).
    """

    kind: Literal["infiniband", "roce", "efa", "ethernet", "proprietary"]
    port_bytes_per_s: BytesPerSecond = Field(gt=0)
    radix: PositiveInt
    oversubscription: float = Field(default=1.0, ge=1.0)
    latency_s: Seconds = Field(ge=0)
    training_grade: bool
