"""Bytes of activations that one layer saves for its backward pass, tensor by tensor, per rank and micro-batch.

Source: Korthikanti et al. 2022, *Reducing Activation Recomputation in Large Transformer Models*, section 4
(sbh(34 + 5as/h) unsharded; sbh(10 + 24/t + 5as/(ht)) with tensor parallelism; sbh/t(34 + 5as/h) with sequence
parallelism), extended tensor by tensor to grouped-query and latent attention, gated MLPs, flash attention and experts.
"""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.elementwise import HALF
from costmodels.layout import Shard, residual_tokens, routed_tokens, tokens_per_rank
from costmodels.recipe import Recipe

FP32 = 4.0
MASK = 1.0
"""Bytes of a dropout-mask element."""


def attention_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one attention block with its norm."""
    tokens, local = tokens_per_rank(s, seq), residual_tokens(s, seq)
    kv_local = a.head_dim * np.maximum(a.kv_heads / s.tp, 1.0)
    plain = a.q_width / s.tp + 2.0 * kv_local
    # Latent attention: compressed inputs before and after their norms, then full heads of queries, keys and values.
    latent = 2.0 * (a.q_lora + a.kv_lora) + a.rope_head_dim + (2.0 * a.q_width + a.o_width) / s.tp
    qkv = np.where(a.is_mla > 0, latent, plain)
    qk_norm = np.maximum(a.qk_norm_head, a.qk_norm_full) * (a.q_width / s.tp + kv_local)
    sequences = s.micro_batch * a.heads / s.tp / s.cp
    score = HALF + a.dropout * (MASK + HALF)
    core = np.where(
        r.flash > 0, FP32 * a.heads / s.tp * tokens, np.where(s.selective > 0, 0.0, score * sequences * seq * seq)
    )
    post_norm = np.where(a.norms_per_layer > 2, HALF * a.hidden * local, 0.0)
    return (
        HALF * a.hidden * local  # input of the norm
        + post_norm
        + r.operand_bytes * a.hidden * local  # input of the projections
        + HALF * (qkv + qk_norm) * tokens
        + core
        + np.maximum(r.operand_bytes, HALF) * a.o_width / s.tp * tokens  # input of the output projection
        + a.dropout * MASK * a.hidden * local
    )


def _mlp_activations(a: Architecture, r: Recipe, elements: Column) -> Column:
    """Saved bytes of up, gate and activated tensors of ``elements`` intermediate elements."""
    unfused = a.gated * (1.0 - r.fused_activation)
    return elements * (HALF * (1.0 + a.gated + unfused) + r.operand_bytes)


def _mlp_inputs(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of what dense and expert blocks share: norm input, block input, dropout mask."""
    local = a.hidden * residual_tokens(s, seq)
    serial = np.where(a.parallel_block > 0, 0.0, 1.0)
    post_norm = np.where(a.norms_per_layer > 2, HALF, 0.0)
    return local * (serial * (HALF + r.operand_bytes) + post_norm + a.dropout * MASK)


def dense_mlp_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one dense MLP block with its norm."""
    return _mlp_inputs(a, s, r, seq) + _mlp_activations(a, r, a.ffn / s.tp * tokens_per_rank(s, seq))


def moe_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one MoE block: router, permuted expert inputs, expert and shared intermediates."""
    routed = routed_tokens(s, a.topk, seq)
    router = FP32 * a.experts * residual_tokens(s, seq)
    expert = r.operand_bytes * a.hidden * routed + _mlp_activations(a, r, a.moe_ffn / s.etp * routed)
    combined = HALF * a.hidden * routed / s.etp
    shared = _mlp_activations(a, r, a.shared_ffn / s.tp * tokens_per_rank(s, seq))
    return _mlp_inputs(a, s, r, seq) + router + expert + combined + shared


def layer_input_bytes(a: Architecture, s: Shard, seq: Column) -> Column:
    """What a fully recomputed layer keeps: its input."""
    return HALF * a.hidden * residual_tokens(s, seq)


def backward_bytes(a: Architecture, s: Shard, seq: Column, width: Column) -> Column:
    """Transient bytes of the backward pass of an MLP of intermediate ``width`` per rank.

    Gradients of the activated and the pre-activation tensors, and the residual stream gathered over tp.
    """
    tokens = tokens_per_rank(s, seq)
    return HALF * tokens * (width * (2.0 + a.gated) + a.hidden)


def head_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> tuple[Column, Column]:
    """Saved bytes around the head, and the logits and loss buffers that exist while the loss is computed."""
    tokens = tokens_per_rank(s, seq)
    saved = 2.0 * HALF * a.hidden * residual_tokens(s, seq)
    logit = np.where(r.fused_loss > 0, 2.0 * HALF, HALF + 2.0 * FP32)
    return saved, logit * a.vocab / s.tp * tokens
