"""Devices as columns: an accelerator in its server on its fabric, at one training precision."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.accelerator import Accelerator
from catalogs.errors import UnsupportedError
from catalogs.fabric import Fabric
from catalogs.profile import PEAK_DTYPE, Precision
from costmodels.columns import Column, Columns


@dataclass(frozen=True, eq=False)
class Device(Columns):
    """What the formulas need to know about one accelerator and its surroundings.

    Attributes:
        peak_flops_per_s: dense matmul peak at the training precision.
        attention_flops_per_s: dense peak at the half precision in which attention and the head run.
        memory_bandwidth_bytes_per_s: nominal.
        memory_bytes: capacity as the device reports it.
        compute_units: SMs / CUs / cores, 0 when unknown (then no wave quantisation is charged).
        host_link_bytes_per_s: to host memory, one direction; 0 when unknown.
        scale_up_bytes_per_s: nominal, per accelerator, one direction.
        scale_up_domain: accelerators that share it.
        scale_up_mesh: 1 where a group of g members only reaches (g-1)/(domain-1) of the scale-up bandwidth.
        scale_out_bytes_per_s: nominal, per accelerator, one direction.
        scale_up_latency_s, scale_out_latency_s: of one message.
        leaf_accelerators: how many accelerators share one leaf switch (rail) at full bandwidth.
        oversubscription: factor by which bandwidth shrinks beyond the leaf.
        server_accelerators: accelerators in one server.
    """

    peak_flops_per_s: Column
    attention_flops_per_s: Column
    memory_bandwidth_bytes_per_s: Column
    memory_bytes: Column
    compute_units: Column
    host_link_bytes_per_s: Column
    scale_up_bytes_per_s: Column
    scale_up_domain: Column
    scale_up_mesh: Column
    scale_out_bytes_per_s: Column
    scale_up_latency_s: Column
    scale_out_latency_s: Column
    leaf_accelerators: Column
    oversubscription: Column
    server_accelerators: Column

    @classmethod
    def of(
        cls, accelerator: Accelerator, server_accelerators: int, fabric: Fabric, precision: Precision, scale_out: float
    ) -> Device:
        """The columns of one accelerator in a server of ``server_accelerators`` on a fabric.

        ``scale_out`` is the network in bytes/s per accelerator. A torus reaches beyond the server, other scale-up
        links end with it (rack-scale domains count the rack as the server).

        Raises:
            UnsupportedError: the accelerator has no matmul units for the precision.
        """
        dtype = PEAK_DTYPE[precision]
        half = "fp16" if precision == "fp16" else "bf16"
        peaks = {str(name): value for name, value in accelerator.peak_flops_per_s.items()}
        for needed in (dtype, half):
            if needed not in peaks:
                raise UnsupportedError(
                    f"{accelerator.name} has no {needed} matmul peak in the catalog and cannot train in {precision}; "
                    f"it offers {', '.join(peaks)}"
                )
        up = accelerator.scale_up
        return cls.from_values(
            peak_flops_per_s=peaks[dtype],
            attention_flops_per_s=peaks[half],
            memory_bandwidth_bytes_per_s=accelerator.memory_bandwidth_bytes_per_s,
            memory_bytes=accelerator.memory_bytes,
            compute_units=accelerator.compute_units or 0,
            host_link_bytes_per_s=accelerator.host_link_bytes_per_s or 0,
            scale_up_bytes_per_s=up.bandwidth_bytes_per_s,
            scale_up_domain=scale_up_reach(accelerator, server_accelerators),
            scale_up_mesh=up.topology == "mesh",
            scale_out_bytes_per_s=scale_out,
            scale_up_latency_s=SCALE_UP_LATENCY_S if up.latency_s is None else up.latency_s,
            scale_out_latency_s=fabric.latency_s,
            leaf_accelerators=_leaf_accelerators(fabric, server_accelerators),
            oversubscription=fabric.oversubscription,
            server_accelerators=server_accelerators,
        )


SCALE_UP_LATENCY_S = 3e-6
"""Latency of one scale-up message where the catalog has none (order of magnitude of NCCL inside a server)."""


def scale_up_reach(accelerator: Accelerator, server_accelerators: int) -> int:
    """Accelerators that share the scale-up links: a torus reaches beyond the server, other domains end with it."""
    up = accelerator.scale_up
    return up.domain if up.topology == "torus" else min(up.domain, server_accelerators)


def _leaf_accelerators(fabric: Fabric, server_accelerators: int) -> float:
    """Accelerators below one rail's leaf: its down-ports, one server each, times the accelerators of a server."""
    down_ports = fabric.radix * fabric.oversubscription / (1 + fabric.oversubscription)
    return down_ports * server_accelerators
