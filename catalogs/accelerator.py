"""Accelerators: what one device can compute, hold and move."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from catalogs.quantity import Bytes, BytesPerSecond, FlopPerSecond, Seconds, Watts
from catalogs.record import Record

Dtype = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "fp4"]
Topology = Literal["switch", "mesh", "torus", "pcie"]


class ScaleUp(BaseModel):
    """The fast domain an accelerator sits in (NVLink, HCCS, Infinity Fabric, ICI…).

    Attributes:
        link: name and generation of the link.
        bandwidth_bytes_per_s: per accelerator, one direction, all links together.
        domain: accelerators that reach each other over it.
        topology: ``switch`` gives any group the whole bandwidth; in a ``mesh`` a group of g members of
            a domain of d gets (g-1)/(d-1) of it; ``torus`` gives rings along axes the whole bandwidth;
            ``pcie`` is shared through the host.
        latency_s: of one hop, if known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    link: str
    bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    domain: PositiveInt
    topology: Topology
    latency_s: Seconds | None = Field(default=None, ge=0)


class Accelerator(Record):
    """One accelerator as the framework sees it (one device, one rank).

    Attributes:
        vendor: lower-case maker.
        family: architecture generation; relatives share fitted profiles.
        memory_bytes: what the device reports as its total memory (not the marketing figure).
        memory_bandwidth_bytes_per_s: nominal.
        peak_flops_per_s: dense peak by dtype (no sparsity).
        achieved_flops_per_s: best measured matmul rate by dtype, where somebody measured it.
        compute_units: SMs / CUs / cube cores, for wave quantisation; absent when unknown.
        host_link_bytes_per_s: to host memory, one direction, per accelerator.
        tdp_w: board power limit.
        export_note: trade restrictions a buyer must know.
    """

    vendor: str
    family: str
    year: int | None = None
    form: str = ""
    memory_bytes: Bytes = Field(gt=0)
    memory_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    peak_flops_per_s: dict[Dtype, FlopPerSecond]
    achieved_flops_per_s: dict[Dtype, FlopPerSecond] = Field(default={})
    compute_units: PositiveInt | None = None
    scale_up: ScaleUp
    host_link_bytes_per_s: BytesPerSecond | None = Field(default=None, gt=0)
    tdp_w: Watts | None = Field(default=None, gt=0)
    export_note: str = ""
