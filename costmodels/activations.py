"""Bytes of activations that one layer saves for its backward pass, tensor by tensor, per rank and micro-batch.

Source: Korthikanti et al. 2022, *Reducing Activation Recomputation in Large Transformer Models*, section 4
(sbh(34 + 5as/h) unsharded; sbh(10 + 24/t + 5as/(ht)) with tensor parallelism; sbh/t(34 + 5as/h) with sequence
parallelism), extended tensor by tensor to grouped-query and latent attention, gated MLPs, flash attention and experts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.elementwise import HALF
from costmodels.layout import Shard, residual_tokens, routed_tokens, tokens_per_rank
from costmodels.recipe import Recipe

FP32 = 4.0
MASK = 1.0
"""Bytes of an element of a dropout or attention mask."""

SPELLED_GELU_RESULTS = 3.0
"""Results that 0.5x(1 + tanh(...)) saves beside its input and its value: the tanh, 1 + tanh, and 0.5x."""


def _projected(a: Architecture, s: Shard) -> Column:
    """Elements of keys (or values) of one token on one rank."""
    return a.head_dim * np.maximum(a.kv_heads / s.tp, 1.0)


def matmul_input(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of the input that the matmuls of a block share."""
    tokens = np.where(r.gathered_inputs > 0, tokens_per_rank(s, seq), residual_tokens(s, seq))
    return r.saved_bytes * a.hidden * tokens


def norm_input(a: Architecture, r: Recipe) -> Column:
    """Saved bytes of one token's input of a norm of the residual stream.

    An RMS norm in single operations also saves its input in fp32; one that scales its normed values in fp32 saves
    these so, and the half-precision input beside them (``RMSNorm`` of THUDM's ``modeling_chatglm.py``).
    """
    scaled = np.where(r.norm_bytes > 0, a.fp32_norm * FP32, 0.0)
    return (HALF + a.rms_norm * (r.norm_bytes + scaled)) * a.hidden


def attention_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one attention block with its norm."""
    tokens, local = tokens_per_rank(s, seq), residual_tokens(s, seq)
    repeated = r.repeated_keys > 0  # keys and values as attention reads them: of all query heads
    plain = a.q_width / s.tp + 2.0 * np.where(repeated, a.head_dim * a.heads / s.tp, _projected(a, s))
    # Latent attention: compressed inputs before and after their norms, then full heads of queries, keys and values.
    latent = 2.0 * (a.q_lora + a.kv_lora) + a.rope_head_dim + (2.0 * a.q_width + a.o_width) / s.tp
    qkv = np.where(a.is_mla > 0, latent, plain)
    qk_norm = np.maximum(a.qk_norm_head, a.qk_norm_full) * (a.q_width / s.tp + _projected(a, s))
    norm = norm_input(a, r) * local
    return (
        norm
        + np.where(a.norms_per_layer > 2, norm, 0.0)  # after the block
        + matmul_input(a, s, r, seq)
        + HALF * (qkv + qk_norm) * tokens
        + _core_activations(a, s, r, seq)
        + np.maximum(r.saved_bytes, HALF) * a.o_width / s.tp * tokens  # input of the output projection
        + a.dropout * MASK * a.hidden * local
    )


def _core_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes between the projections: log-sum-exps of fused attention, or the scores."""
    sequences = s.micro_batch * a.heads / s.tp / s.cp
    score = HALF + a.dropout * (MASK + HALF)
    dropped = (s.selective > 0) & (r.operator_recompute == 0)
    biases = HALF * a.square_alibi * r.bias_matrices * sequences * seq * seq
    return np.where(
        r.flash > 0,
        FP32 * a.heads / s.tp * tokens_per_rank(s, seq) + biases,
        np.where(dropped, 0.0, score * sequences * seq * seq),
    )


def _mlp_activations(a: Architecture, r: Recipe, elements: Column) -> Column:
    """Saved bytes of up, gate and activated tensors of ``elements`` intermediate elements."""
    steps = 1.0 + SPELLED_GELU_RESULTS * a.tanh_gelu * r.spelled_gelu
    unfused = a.gated * (1.0 - r.fused_activation) * steps
    return elements * (HALF * (1.0 + a.gated + unfused) + r.saved_bytes)


def _mlp_inputs(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of what dense and expert blocks share: norm input, block input, dropout mask."""
    local = residual_tokens(s, seq)
    serial = np.where(a.parallel_block > 0, 0.0, 1.0)
    norms = (serial + np.where(a.norms_per_layer > 2, 1.0, 0.0)) * norm_input(a, r)
    return local * (norms + a.dropout * MASK * a.hidden) + serial * matmul_input(a, s, r, seq)


def dense_mlp_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one dense MLP block with its norm."""
    return _mlp_inputs(a, s, r, seq) + _mlp_activations(a, r, a.ffn / s.tp * tokens_per_rank(s, seq))


def moe_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one MoE block: router, permuted expert inputs, expert and shared intermediates.

    The routing weight multiplies the activated tensor inside the fused activation, so that the results of the experts
    need not be kept (Megatron-Core since 0.12).
    """
    routed = routed_tokens(s, a.topk, seq)
    router = FP32 * a.experts * residual_tokens(s, seq)
    expert = r.saved_bytes * a.hidden * routed + _mlp_activations(a, r, a.moe_ffn / s.etp * routed)
    shared = _mlp_activations(a, r, a.shared_ffn / s.tp * tokens_per_rank(s, seq))
    return _mlp_inputs(a, s, r, seq) + router + expert + shared


RECOMPUTED_MODULES = ("core_attn", "layernorm", "mla_up_proj", "mlp", "moe", "moe_act", "shared_experts")
"""Parts of a layer that Megatron-Core recomputes on their own (``recompute_modules`` of its transformer config)."""


def module_activations(a: Architecture, s: Shard, r: Recipe, seq: Column, modules: Mapping[str, Column]) -> Column:
    """What recomputing single modules keeps from being saved: of a dense layer and of an MoE layer, (2, ...).

    The outputs of the norms, of the latent up-projections and of the experts' activation; all within an MLP, an MoE
    block or the shared experts but their input; the log-sum-exps, or the scores, of the attention core.

    Args:
        a: model.
        s: shard.
        r: recipe.
        seq: tokens of a sequence.
        modules: 1 for each of :data:`RECOMPUTED_MODULES` that is recomputed, else 0.
    """
    tokens, routed = tokens_per_rank(s, seq), routed_tokens(s, a.topk, seq)
    normed = matmul_input(a, s, r, seq)
    norms = (2.0 - a.parallel_block) * normed
    latent = HALF * (2.0 * a.q_width + a.o_width) / s.tp * tokens * a.is_mla
    shared = (
        modules["layernorm"] * norms
        + modules["mla_up_proj"] * latent
        + modules["core_attn"] * _core_activations(a, s, r, seq)
    )
    within_mlp = _mlp_activations(a, r, a.ffn / s.tp * tokens)
    experts = r.saved_bytes * a.hidden * routed + _mlp_activations(a, r, a.moe_ffn / s.etp * routed)
    beside = _mlp_activations(a, r, a.shared_ffn / s.tp * tokens)
    activated = r.saved_bytes * a.moe_ffn / s.etp * routed
    moe = np.where(
        modules["moe"] > 0,
        FP32 * a.experts * residual_tokens(s, seq) + experts + beside,
        modules["moe_act"] * activated + modules["shared_experts"] * beside,
    )
    return np.stack(np.broadcast_arrays(shared + modules["mlp"] * within_mlp, shared + moe))


def operator_attention_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """What operator-level selective recomputation keeps of an attention block.

    The input of the layer, the results of attention and of every second matmul: queries and values of plain attention
    (torchtitan, ``_get_custom_policy`` of its activation checkpointing: of the matrix products in order, each second
    one is recomputed).
    """
    tokens, local = tokens_per_rank(s, seq), residual_tokens(s, seq)
    plain = a.q_width / s.tp + _projected(a, s)
    up = a.heads * (a.nope_head_dim + a.v_head_dim) / s.tp
    latent = np.where(a.q_lora > 0, a.q_lora + a.kv_lora + a.rope_head_dim, a.q_width / s.tp + up)
    kept = r.operator_products * np.where(a.is_mla > 0, latent, plain) + a.o_width / s.tp
    return HALF * a.hidden * local + (HALF * kept + FP32 * a.heads / s.tp) * tokens


def operator_mlp_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """The same for a dense MLP: its first product, and its last one unless a compiler sees that nobody reads it."""
    unread = (1.0 - r.fused_activation) * a.hidden
    return r.operator_products * HALF * (a.ffn / s.tp + unread) * tokens_per_rank(s, seq)


def operator_moe_activations(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """The same for an MoE block: dispatched tokens and the first product of routed and shared experts."""
    routed = routed_tokens(s, a.topk, seq)
    shared = HALF * a.shared_ffn / s.tp * tokens_per_rank(s, seq)
    return HALF * a.hidden * routed + r.operator_products * (HALF * a.moe_ffn / s.etp * routed + shared)


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
    """Saved bytes around the head, and the largest set of buffers between the head and the loss.

    What is saved includes the buffer into which sequence parallelism gathers the head's input for both passes
    (``get_global_memory_buffer`` of Megatron-LM, which keeps it). The largest set of buffers is either the loss's own
    peak, or the logits with their gradient and the head's weight gradient.
    """
    logits = a.vocab / s.tp * tokens_per_rank(s, seq)
    buffered = np.where(
        (s.sp > 0) & (s.tp > 1) & (r.gathered_inputs == 0), HALF * a.hidden * tokens_per_rank(s, seq), 0.0
    )
    saved = HALF * a.hidden * residual_tokens(s, seq) + matmul_input(a, s, r, seq) + buffered
    unfused = np.where(s.tp > 1, r.split_loss_bytes, r.loss_bytes)
    capped = HALF * a.logit_softcap  # the result of the tanh, for its own backward pass
    loss = (np.where(r.fused_loss > 0, 2.0 * HALF, unfused) + capped) * logits
    backward = (2.0 * HALF + capped) * logits + r.scratch_gradient_bytes * a.hidden * a.vocab / s.tp
    return saved, np.maximum(loss, backward)
