"""Bytes that element-wise kernels move through memory, counted in passes over tensors.

A pass is one read or one write of a tensor. Fused kernels are assumed (norm, bias-dropout-add, rotary, gated
activation, masked softmax), as Megatron-LM, Transformer Engine and torch.compile provide; what a framework leaves
unfused shows in its fitted memory efficiency.
"""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layout import Shard, residual_tokens, routed_tokens, tokens_per_rank
from costmodels.recipe import Recipe

HALF = 2.0
"""Bytes of an activation element between kernels (bf16 or fp16)."""

NORM = (2.0, 3.0)
RESIDUAL_ADD = (3.0, 3.0)
DROPOUT = (1.0, 1.0)
ROTARY = (2.0, 2.0)
GATED = (3.0, 5.0)
UNGATED = (2.0, 3.0)
SCORES = (4.0, 7.0)
SCORES_UNFUSED = (16.0, 17.0)
SCORES_DROPOUT = (2.5, 2.5)
PERMUTE = (4.0, 4.0)
EXPERT_BIAS = (14.0, 20.0)
QUANTISE = (2.0, 2.0)
"""Forward and backward passes: e.g. a norm reads and writes once forward; reads input and gradient, writes one back."""

SOFTMAX_MATRICES = 4.0
"""Score matrices that a block of Megatron-LM's masked-softmax kernel works on."""

LOGIT_BYTES = {"fused": (6.0, 4.0), "unfused": (18.0, 10.0)}
"""Forward and backward bytes per logit of cross entropy (unfused: cast to fp32, max, exponential sum, gradient)."""


def attention_bytes(a: Architecture, s: Shard, r: Recipe, seq: Column) -> tuple[Column, Column]:
    """Forward and backward bytes of the element-wise work around one attention block, per rank and micro-batch."""
    residual = HALF * a.hidden * residual_tokens(s, seq)
    heads = HALF * (a.q_width + a.kv_width) / s.tp * tokens_per_rank(s, seq)
    scores = np.where(r.flash > 0, 0.0, HALF * s.micro_batch * a.heads / s.tp * seq * seq / s.cp)
    cast = np.where(r.operand_bytes < 2, HALF * (a.hidden + a.o_width / s.tp) * tokens_per_rank(s, seq), 0.0)
    # A parallel block has all its norms here.
    norms = np.where(a.parallel_block > 0, a.norms_per_layer, a.norms_per_layer / 2)
    rotary = np.where(a.learned_positions > 0, 0.0, 1.0)
    qk_norm = np.maximum(a.qk_norm_head, a.qk_norm_full)
    unfused = unfused_softmax(a, s, r)

    def passes(way: int) -> Column:
        return np.asarray(
            residual * (norms * NORM[way] + RESIDUAL_ADD[way] + a.dropout * DROPOUT[way])
            + heads * (rotary * ROTARY[way] + qk_norm * NORM[way])
            + scores * (SCORES[way] + unfused * SCORES_UNFUSED[way] + a.dropout * SCORES_DROPOUT[way])
            + cast * QUANTISE[way]
        )

    return passes(0), passes(1)


def score_bytes(a: Architecture, s: Shard, r: Recipe, seq: Column) -> Column:
    """Forward bytes of the attention scores alone (what selective recomputation repeats)."""
    scores = np.where(r.flash > 0, 0.0, HALF * s.micro_batch * a.heads / s.tp * seq * seq / s.cp)
    return scores * (SCORES[0] + unfused_softmax(a, s, r) * SCORES_UNFUSED[0] + a.dropout * SCORES_DROPOUT[0])


def unfused_softmax(a: Architecture, s: Shard, r: Recipe) -> Column:
    """1 where scores are kept and their masked softmax is not one kernel.

    Megatron-LM's kernel takes the score matrices of a rank in multiples of :data:`SOFTMAX_MATRICES`; for other numbers
    of them it falls back to torch in fp32: cast, scale, mask, softmax, cast.
    """
    matrices = s.micro_batch * a.heads / s.tp
    return np.where((r.flash > 0) | (np.mod(matrices, SOFTMAX_MATRICES) == 0), 0.0, 1.0)


def _mlp(a: Architecture, s: Shard, r: Recipe, seq: Column, hidden_elements: Column) -> tuple[Column, Column]:
    """Passes shared by dense and expert MLPs: norm, residual add, activation over ``hidden_elements``."""
    residual = HALF * a.hidden * residual_tokens(s, seq)
    norms = np.where(a.parallel_block > 0, 0.0, a.norms_per_layer / 2)
    adds = np.where(a.parallel_block > 0, 0.0, 1.0)
    unfused = np.where((a.gated > 0) & (r.fused_activation == 0), 1.0, 0.0)

    def passes(way: int) -> Column:
        activation = np.where(a.gated > 0, GATED[way] + unfused * (2.0 + way), UNGATED[way])
        cast = np.where(r.operand_bytes < 2, QUANTISE[way], 0.0)
        return np.asarray(
            residual * (norms * NORM[way] + adds * RESIDUAL_ADD[way] + a.dropout * DROPOUT[way])
            + HALF * hidden_elements * (activation + cast)
            + residual * cast
        )

    return passes(0), passes(1)


def dense_mlp_bytes(a: Architecture, s: Shard, r: Recipe, seq: Column) -> tuple[Column, Column]:
    """Forward and backward bytes of the element-wise work of one dense MLP block, per rank and micro-batch."""
    return _mlp(a, s, r, seq, a.ffn / s.tp * tokens_per_rank(s, seq))


def moe_bytes(a: Architecture, s: Shard, r: Recipe, seq: Column, routing_passes: Column) -> tuple[Column, Column]:
    """Forward and backward bytes of one MoE block: experts, shared experts, permutation of routed tokens.

    Biases of the experts' outputs are added in fp32, weighted by the router and one expert at a time
    (``TEGroupedMLP._apply_bias`` of Megatron-LM): the weighted bias, the sum, the concatenation and the cast are
    written out, and so are the gradients of all of them.
    """
    routed = routed_tokens(s, a.topk, seq)
    elements = a.moe_ffn / s.etp * routed + a.shared_ffn / s.tp * tokens_per_rank(s, seq)
    forward, backward = _mlp(a, s, r, seq, elements)
    permuted = HALF * a.hidden * routed

    def passes(way: int) -> Column:
        return PERMUTE[way] + routing_passes + a.expert_bias * EXPERT_BIAS[way]

    return forward + passes(0) * permuted, backward + passes(1) * permuted


def head_bytes(a: Architecture, s: Shard, r: Recipe, seq: Column) -> tuple[Column, Column]:
    """Forward and backward bytes of the loss over the vocabulary shard of one rank."""
    logits = a.vocab / s.tp * tokens_per_rank(s, seq)
    fused, unfused = LOGIT_BYTES["fused"], LOGIT_BYTES["unfused"]
    return (
        logits * np.where(r.fused_loss > 0, fused[0], unfused[0]),
        logits * np.where(r.fused_loss > 0, fused[1], unfused[1]),
    )
