"""Seconds of attention: its projections, its core, and the exchange of keys and values."""

from __future__ import annotations

import numpy as np

from costmodels.collectives import group_bandwidth, ring_latency_s
from costmodels.elementwise import HALF, attention_bytes, score_bytes
from costmodels.flops import FLASH_BACKWARD, attention_core_flops
from costmodels.layer_block import linear_block
from costmodels.layer_seconds import LayerSeconds, nothing_but
from costmodels.layout import tokens_per_rank
from costmodels.matmul import alignment
from costmodels.setting import Setting

HEAD_DIM_OVERHEAD = 32.0
"""Head width at which fused attention spends half its time outside the matrix units (softmax, scaling); 128 is par."""

FIRST_FLASH_WIDTH = 64.0
"""Widest heads of which kernels of the first generation of fused attention hold a whole tile on the chip."""

FIRST_FLASH_WIDE_RATE = 0.8
"""Their rate on wider heads, over that on narrow ones (FlashAttention 1 and its Triton version on A100 and H100)."""

RING_BACKWARD = 2.0
"""Key/value ring traffic of the backward pass over the forward pass: keys and values, and their gradients."""


def attention_block(x: Setting) -> LayerSeconds:
    """Seconds of the attention block of a layer."""
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    kv_local = a.head_dim * np.maximum(a.kv_heads / s.tp, 1.0)
    has_q_lora = np.where(a.q_lora > 0, 1.0, 0.0)
    plain = 1.0 - a.is_mla
    linears = [
        # Queries, keys and values in one product; a zero width drops a product.
        (tokens, a.hidden, plain * (a.q_width / s.tp + 2.0 * kv_local), one, one),
        (tokens, a.hidden, a.is_mla * (a.q_lora + a.kv_lora + a.rope_head_dim), one, one),
        (tokens, np.where(has_q_lora > 0, a.q_lora, a.hidden), a.is_mla * a.q_width / s.tp, one, one),
        (tokens, a.kv_lora, a.is_mla * a.heads * (a.nope_head_dim + a.v_head_dim) / s.tp, one, one),
        (tokens, a.o_width / s.tp, a.hidden, one, one),
    ]
    block = linear_block(
        x,
        linears,
        attention_bytes(a, s, x.recipe, x.seq),
        rate=x.device.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=one,
    )
    return block + _attention_core(x)


def _attention_core(x: Setting) -> LayerSeconds:
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    flash = x.recipe.flash > 0
    sequences = s.micro_batch / (s.tp * s.cp)
    skipping = x.seq / x.reach * attention_core_flops(a, x.reach, causal=True)
    square = attention_core_flops(a, x.seq, causal=False)
    width = a.q_width / a.heads
    shape = (width / (width + HEAD_DIM_OVERHEAD)) / (128.0 / (128.0 + HEAD_DIM_OVERHEAD))
    first = np.where(width > FIRST_FLASH_WIDTH, 1.0, 1.0 / FIRST_FLASH_WIDE_RATE)
    fused_shape = np.where(x.recipe.first_flash > 0, first, shape)
    fused = sequences * skipping / (d.attention_flops_per_s * e.attention_efficiency * fused_shape)
    aligned = alignment(width)
    plain = sequences * square / (d.attention_flops_per_s * e.gemm_efficiency * np.minimum(shape, 1.0) * aligned)
    forward = np.where(flash, fused, plain)
    backward = forward * np.where(flash, FLASH_BACKWARD, 2.0)
    scores = score_bytes(a, s, x.recipe, x.seq) / (d.memory_bandwidth_bytes_per_s * e.memory_efficiency)

    kv_bytes = HALF * np.where(a.is_mla > 0, a.q_width + a.o_width, 2.0 * a.kv_width) / s.tp * tokens_per_rank(s, x.seq)
    bandwidth = group_bandwidth(s.cp, s.tp, d, e.scale_up_efficiency, e.scale_out_efficiency)
    ring = np.where(s.cp > 1, (s.cp - 1) * kv_bytes / bandwidth + ring_latency_s(s.cp, s.tp, d) + e.collective_s, 0.0)
    return nothing_but(
        core_f=forward,
        core_b=backward,
        context_f=ring - np.minimum(e.tensor_overlap * ring, forward),
        context_b=RING_BACKWARD * ring - np.minimum(e.tensor_overlap * RING_BACKWARD * ring, backward),
        selective=s.selective * (forward + scores),
    )
