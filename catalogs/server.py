"""Servers: the unit in which accelerators are rented, bought and racked."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from catalogs.quantity import Bytes, BytesPerSecond, Watts
from catalogs.record import Record


class Server(Record):
    """A server (or rack-scale unit) as it is sold.

    Attributes:
        accelerator: name of the accelerator in it.
        accelerators: how many of them.
        scale_out_bytes_per_s_per_accelerator: network bandwidth out of the server, one direction.
        fabric: name of the fabric it is usually wired to.
        host_memory_bytes: for offload.
        power_w: maximum draw of the whole server, accelerators included.
        default: whether this is the server assumed for its accelerator when an offer names none.
    """

    accelerator: str
    accelerators: PositiveInt
    scale_out_bytes_per_s_per_accelerator: BytesPerSecond | None = Field(default=None, gt=0)
    fabric: str | None = None
    host_memory_bytes: Bytes | None = Field(default=None, gt=0)
    power_w: Watts | None = Field(default=None, gt=0)
    default: bool = False
