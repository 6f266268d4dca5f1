"""Parameters that one rank of a pipeline stage holds before any ZeRO sharding."""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layout import Pipe, Shard
from costmodels.parameters import (
    attention_params,
    dense_mlp_params,
    embedding_params,
    expert_params,
    final_norm_params,
    head_params,
    norm_params,
    router_params,
    shared_expert_params,
)


def attention_rank_params(a: Architecture, s: Shard) -> Column:
    """Attention and norms of one layer on one rank.

    Matrices are split over tp. Norms and the down-projections of latent attention are replicated, and so are
    key/value heads where there are fewer of them than ranks.
    """
    down = a.is_mla * a.hidden * (a.q_lora + a.kv_lora + a.rope_head_dim)
    copies = np.maximum(a.kv_heads / s.tp, 1.0) - a.kv_heads / s.tp
    replicated_kv = (1.0 - a.is_mla) * 2.0 * a.head_dim * (a.hidden + a.qkv_bias) * copies
    return (attention_params(a) - down) / s.tp + down + replicated_kv + norm_params(a)


def dense_mlp_rank_params(a: Architecture, s: Shard) -> Column:
    """One dense MLP on one rank."""
    return dense_mlp_params(a) / s.tp


def shared_rank_params(a: Architecture, s: Shard) -> Column:
    """Router (replicated) and shared experts (split over tp) of one MoE layer on one rank."""
    return shared_expert_params(a) / s.tp + router_params(a)


def expert_rank_params(a: Architecture, s: Shard) -> Column:
    """Routed experts of one MoE layer on one rank: experts over ep, each split over etp."""
    return a.experts / s.ep * expert_params(a) / s.etp


def stage_rank_params(
    a: Architecture, s: Shard, pipe: Pipe, stage: Column, dense_layers: Column, moe_layers: Column
) -> tuple[Column, Column]:
    """Non-expert and expert parameters of one rank of a stage, embedding and head on the end stages.

    Multi-token-prediction layers stand on the last stage, beyond ``dense_layers`` and ``moe_layers``.
    """
    extra_dense, extra_moe = prediction_layers(a, pipe, stage)
    dense_layers, moe_layers = dense_layers + extra_dense, moe_layers + extra_moe
    layers = dense_layers + moe_layers
    blocks = (
        layers * attention_rank_params(a, s)
        + dense_layers * dense_mlp_rank_params(a, s)
        + moe_layers * shared_rank_params(a, s)
    )
    blocks = blocks + (extra_dense + extra_moe) * (2.0 * a.hidden**2 / s.tp + 3.0 * a.norm_vectors * a.hidden)
    first = np.where(stage == 0, embedding_params(a) / s.tp, 0.0)
    last = np.where(stage == pipe.pp - 1, head_rank_params(a, s, pipe) + final_norm_params(a), 0.0)
    return blocks + first + last, moe_layers * expert_rank_params(a, s)


def prediction_layers(a: Architecture, pipe: Pipe, stage: Column) -> tuple[Column, Column]:
    """Multi-token-prediction layers of a stage, dense and MoE: all on the last one, of the kind that ends the stack."""
    extra = np.where(stage == pipe.pp - 1, a.mtp_layers, 0.0)
    return np.where(a.moe_layers > 0, 0.0, extra), np.where(a.moe_layers > 0, extra, 0.0)


def head_rank_params(a: Architecture, s: Shard, pipe: Pipe) -> Column:
    """Output head on one rank of the last stage.

    Where the embedding is needed there too (a tied head, multi-token prediction) and stands on another stage, the
    last one holds a copy.
    """
    copied = ((a.tied > 0) | (a.mtp_layers > 0)) & (pipe.pp > 1)
    return (head_params(a) + np.where(copied, a.hidden * a.vocab, 0.0)) / s.tp


def end_unit_params(a: Architecture, s: Shard, pipe: Pipe, stage: Column) -> Column:
    """Embedding or head of a stage on one rank, whichever is larger (0 between the end stages)."""
    first = np.where(stage == 0, embedding_params(a) / s.tp, 0.0)
    last = np.where(stage == pipe.pp - 1, head_rank_params(a, s, pipe), 0.0)
    return np.maximum(first, last)
