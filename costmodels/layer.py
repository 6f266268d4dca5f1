"""Seconds of one transformer layer on one rank for one micro-batch, and of the output head."""

from __future__ import annotations

import numpy as np

from costmodels.adapters import dense_adapters, moe_adapters
from costmodels.architecture import Architecture
from costmodels.attention import attention_block
from costmodels.columns import Column
from costmodels.elementwise import HALF, dense_mlp_bytes, head_bytes
from costmodels.experts import expert_exchange, local_experts, moe_block
from costmodels.launch import floored, frozen_weights
from costmodels.layer_block import linear_block
from costmodels.layer_seconds import LayerSeconds, nothing_but
from costmodels.layout import Shard, tokens_per_rank
from costmodels.setting import Setting

MOE_LAUNCHES = 2.0
"""Kernels of an MoE layer (router, permutation, grouped products) over those of a dense layer."""

EXPERT_BIAS_LAUNCHES = 0.15
"""Kernels that add the output bias of one local expert and its gradient (multiply and add; two products, two sums, two
casts) over those of a dense layer (about twenty)."""

VOCABULARY_MULTIPLE = 128.0
"""Megatron-LM's make-vocab-size-divisible-by."""


def dense_layer(x: Setting) -> LayerSeconds:
    """Seconds of a layer with a dense MLP (0 where no model has one)."""
    if not np.any(x.architecture.dense_layers):
        return nothing_but()
    return floored(x, attention_block(x) + _dense_mlp_block(x), np.ones(()), dense_adapters)


def moe_layer(x: Setting) -> LayerSeconds:
    """Seconds of a layer with routed experts (0 where no model has them)."""
    return moe_layers(x, x.recipe.overlaps_experts)[0]


def moe_layers(x: Setting, *overlaps: Column) -> tuple[LayerSeconds, ...]:
    """The same where the exchange of experts runs beside another micro-batch (1) and where it waits (0)."""
    if not np.any(x.architecture.moe_layers):
        return (nothing_but(),) * len(overlaps)
    biases = EXPERT_BIAS_LAUNCHES * x.architecture.expert_bias * local_experts(x)
    block, exchange = attention_block(x) + moe_block(x), expert_exchange(x)

    def layer(overlapped: Column) -> LayerSeconds:
        exposed = (1.0 - overlapped * x.efficiency.expert_overlap) * exchange
        return floored(x, block + nothing_but(expert_f=exposed, expert_b=exposed), MOE_LAUNCHES + biases, moe_adapters)

    return tuple(layer(overlapped) for overlapped in overlaps)


def head(x: Setting) -> LayerSeconds:
    """Seconds of the output head and the loss, vocabulary split over tp, in half precision."""
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    linears = [(tokens, a.hidden, vocabulary_shard(a, s), one, one)]
    memory = head_bytes(a, s, x.recipe, x.seq)
    half = np.full(np.shape(x.recipe.operand_bytes), HALF)
    rate = x.device.attention_flops_per_s
    block = linear_block(x, linears, memory, rate=rate, operand_bytes=half, tensor_collectives=one)
    return block if x.tuning is None else frozen_weights(block, x.tuning.frozen)


def vocabulary_shard(a: Architecture, s: Shard) -> Column:
    """Rows of the output head on one rank; frameworks pad them to :data:`VOCABULARY_MULTIPLE` where they split them."""
    return np.where(s.tp > 1, np.ceil(a.vocab / s.tp / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE, a.vocab)


def _dense_mlp_block(x: Setting) -> LayerSeconds:
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    linears = [
        (tokens, a.hidden, (1.0 + a.gated) * a.ffn / s.tp, one, one),
        (tokens, a.ffn / s.tp, a.hidden, one, one),
    ]
    return linear_block(
        x,
        linears,
        dense_mlp_bytes(a, s, x.recipe, x.seq),
        rate=x.device.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=np.where(a.parallel_block > 0, 0.0, one),
    )
