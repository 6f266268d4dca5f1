"""Seconds of routed experts, and of the exchange that brings tokens to them and back."""

from __future__ import annotations

import numpy as np

from costmodels.collectives import all_to_all_seconds, gather_seconds, group_bandwidth, merged_share, ring_latency_s
from costmodels.columns import Column
from costmodels.elementwise import HALF, moe_bytes
from costmodels.layer_block import linear_block
from costmodels.layer_seconds import LayerSeconds
from costmodels.layout import residual_tokens, routed_tokens, tokens_per_rank
from costmodels.setting import Setting


def local_experts(x: Setting) -> Column:
    """Experts on one rank."""
    return np.maximum(x.architecture.experts / x.shard.ep, 1.0)


def moe_block(x: Setting) -> LayerSeconds:
    """Router and experts, their exchange left out."""
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    local = local_experts(x)
    routed = routed_tokens(s, a.topk, x.seq)
    per_expert = routed / local
    wide = 1.0 + a.gated
    linears = [
        (residual_tokens(s, x.seq), a.hidden, a.experts, one, one),
        (per_expert, a.hidden, wide * a.moe_ffn / s.etp, local, e.expert_efficiency),
        (per_expert, a.moe_ffn / s.etp, a.hidden, local, e.expert_efficiency),
        (tokens, a.hidden, wide * a.shared_ffn / s.tp, one, one),
        (tokens, a.shared_ffn / s.tp, a.hidden, one, one),
    ]
    return linear_block(
        x,
        linears,
        moe_bytes(a, s, x.recipe, x.seq, e.routing_passes),
        rate=d.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=np.where(a.shared_ffn > 0, one, 0.0),
    )


def expert_exchange(x: Setting) -> Column:
    """Seconds of one pass in which tokens go to their experts and back, nothing hidden."""
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    routed, one = routed_tokens(s, a.topk, x.seq), np.ones(())
    up, out = e.scale_up_efficiency, e.scale_out_efficiency
    sent = HALF * a.hidden * routed / s.etp
    leaving = np.where(x.recipe.merges_copies > 0, merged_share(a.topk, s.ep, s.etp, d), 1.0)
    meeting = np.where(s.ep > 1, e.collective_s, 0.0)
    exchange = 2.0 * (all_to_all_seconds(sent, s.ep, s.etp, d, up, out, leaving) + meeting)
    gathered = HALF * a.hidden * routed
    bandwidth = group_bandwidth(s.etp, one, d, up, out)
    gathering = 2.0 * gather_seconds(gathered, s.etp, bandwidth, ring_latency_s(s.etp, one, d) + e.collective_s)
    return np.asarray(exchange + gathering)
