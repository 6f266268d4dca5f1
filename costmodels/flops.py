"""Floating-point operations of a transformer, per component, in named conventions.

*Model FLOPs* count every matmul once forward and twice backward, attention over the full square, nothing for
recomputation: the numerator of MFU as published (Chowdhery et al. 2022, PaLM, appendix B).
*Executed FLOPs* count what the device does: the causal half where the kernel skips, and recomputation.
"""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column

BACKWARD = 2.0
"""Backward over forward FLOPs of a matmul: one product for the input gradient, one for the weight gradient."""

FLASH_BACKWARD = 2.5
"""Backward over forward FLOPs of fused attention: five products against two (Dao et al. 2022, appendix B)."""


def attended(seq: Column, window: Column, *, causal: bool) -> Column:
    """Key positions that the queries of one sequence attend to, summed over the queries.

    Args:
        seq: sequence length.
        window: sliding-window width, 0 = none.
        causal: count only the keys at or before each query (exact: seq·(seq+1)/2 without a window).
    """
    width = np.where(window > 0, np.minimum(window, seq), seq)
    if causal:
        return np.asarray(width * (width + 1) / 2 + (seq - width) * width)
    return np.asarray(seq * width)


def attention_core_flops(a: Architecture, seq: Column, *, causal: bool) -> Column:
    """Forward FLOPs of scores and context of one sequence in an average layer: 2·(d_qk + d_v) per pair and head."""
    full = attended(seq, np.zeros(()), causal=causal)
    windowed = attended(seq, a.window, causal=causal)
    pairs = (a.window_layers * windowed + (a.layers - a.window_layers) * full) / a.layers
    return 2.0 * a.heads * (a.q_width / a.heads + a.v_head_dim) * pairs


def attention_projection_flops(a: Architecture) -> Column:
    """Forward FLOPs per token of the projections of one attention block (latent attention included)."""
    query = np.where(a.q_lora > 0, a.q_lora * (a.hidden + a.q_width), a.hidden * a.q_width)
    latent_kv = a.hidden * (a.kv_lora + a.rope_head_dim) + a.kv_lora * a.heads * (a.nope_head_dim + a.v_head_dim)
    key_value = np.where(a.is_mla > 0, latent_kv, 2.0 * a.hidden * a.kv_width)
    return 2.0 * (query + key_value + a.o_width * a.hidden)


def mlp_flops(a: Architecture, width: Column) -> Column:
    """Forward FLOPs per token of an MLP of intermediate ``width``."""
    return 2.0 * (2.0 + a.gated) * a.hidden * width


def forward_flops(a: Architecture, seq: Column, *, causal: bool) -> dict[str, Column]:
    """Forward FLOPs per token by component, whole model (head included even when tied).

    Args:
        a: architecture columns.
        seq: sequence length.
        causal: False for the published model-FLOPs convention, True for what a causal kernel executes.
    """
    return {
        "attention_projections": a.layers * attention_projection_flops(a),
        "attention_core": a.layers * attention_core_flops(a, seq, causal=causal) / seq,
        "mlp": a.dense_layers * mlp_flops(a, a.ffn),
        "experts": a.moe_layers * a.topk * mlp_flops(a, a.moe_ffn),
        "shared_experts": a.moe_layers * mlp_flops(a, a.shared_ffn),
        "router": a.moe_layers * 2.0 * a.hidden * a.experts,
        "head": 2.0 * a.hidden * a.vocab,
    }


def model_flops_per_token(a: Architecture, seq: Column) -> Column:
    """Training model FLOPs per token: three times forward, full attention, no recomputation."""
    forward = forward_flops(a, seq, causal=False).values()
    return np.asarray((1.0 + BACKWARD) * np.sum(np.stack(np.broadcast_arrays(*forward)), axis=0))


def six_nd_flops(params: Column, tokens: Column) -> Column:
    """The rule of thumb 6·N·D (Kaplan et al. 2020, section 2.1)."""
    return 6.0 * params * tokens
