"""Linear layers with their memory traffic and the collectives of the residual stream: what all blocks are made of."""

from __future__ import annotations

import numpy as np

from costmodels.collectives import all_reduce_seconds, gather_seconds, group_bandwidth, ring_latency_s
from costmodels.columns import Column
from costmodels.elementwise import HALF
from costmodels.layer_seconds import LayerSeconds, nothing_but
from costmodels.layout import tokens_per_rank
from costmodels.matmul import linear_seconds
from costmodels.setting import Setting


def linear_block(
    x: Setting,
    linears: list[tuple[Column, Column, Column, Column, Column]],
    memory: tuple[Column, Column],
    *,
    rate: Column,
    operand_bytes: Column,
    tensor_collectives: Column,
) -> LayerSeconds:
    """Linear layers, element-wise traffic and ``tensor_collectives`` all-reduces of the residual stream each way.

    A linear layer is tokens, width in, width out, how many of them are launched together, and the rate of their kind.
    """
    e, d = x.efficiency, x.device
    bandwidth = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    forward = input_gradient = weight_gradient = np.zeros(())
    for tokens, width_in, width_out, batch, kind_rate in linears:
        f, i, w = linear_seconds(
            tokens,
            width_in,
            width_out,
            batch,
            flops_per_s=rate * e.gemm_efficiency * kind_rate,
            bytes_per_s=bandwidth,
            compute_units=d.compute_units,
            element_bytes=operand_bytes,
        )
        forward, input_gradient, weight_gradient = forward + f, input_gradient + i, weight_gradient + w
    exposed = (1.0 - e.tensor_overlap) * tensor_collectives * _all_reduce(x)
    return nothing_but(
        matmul_f=forward,
        matmul_b=input_gradient + weight_gradient,
        weight_gradient=weight_gradient,
        memory_f=memory[0] / bandwidth,
        memory_b=memory[1] / bandwidth,
        tensor_f=exposed,
        tensor_b=exposed,
    )


def _all_reduce(x: Setting) -> Column:
    """Seconds of one all-reduce of the residual stream.

    Sequence parallelism gathers and scatters instead of reducing; those go around a ring.
    """
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    stream = HALF * a.hidden * tokens_per_rank(s, x.seq)
    one = np.ones(())
    up, out = e.scale_up_efficiency, e.scale_out_efficiency
    ring = 2.0 * gather_seconds(stream, s.tp, group_bandwidth(s.tp, one, d, up, out), ring_latency_s(s.tp, one, d))
    return np.where(s.sp > 0, ring, all_reduce_seconds(stream, s.tp, one, d, up, out))
