"""Layouts as columns: how a model is cut over accelerators and what is kept, recomputed or offloaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column, Columns

ALL_LAYERS = 1e6
"""``recompute_layers`` of a layout that recomputes every layer of every stage."""


@dataclass(frozen=True, eq=False)
class Shard(Columns):
    """The part of a layout that decides the shape of one layer on one rank.

    Attributes:
        tp: tensor parallel degree.
        sp: 1 if the residual stream is split over the tensor-parallel ranks (sequence parallelism).
        cp: context parallel degree.
        ep: expert parallel degree.
        etp: tensor parallel degree of the experts.
        micro_batch: sequences per micro-batch and model replica.
        selective: 1 if the attention core is recomputed.
        recompute_layers: leading layers of each stage that are fully recomputed.
        offload_activations: share of the saved activations that waits in host memory (0 or 1 in the search).
    """

    tp: Column
    sp: Column
    cp: Column
    ep: Column
    etp: Column
    micro_batch: Column
    selective: Column
    recompute_layers: Column
    offload_activations: Column


@dataclass(frozen=True, eq=False)
class Pipe(Columns):
    """The pipeline part of a layout.

    Attributes:
        pp: pipeline stages.
        vpp: model chunks per stage (interleaved schedule; 1 = none).
        zero_bubble: 1 for the ZB-H1 schedule.
    """

    pp: Column
    vpp: Column
    zero_bubble: Column


@dataclass(frozen=True, eq=False)
class Replicas(Columns):
    """The data-parallel part of a layout.

    Attributes:
        dp: model replicas.
        zero: ZeRO stage (0-3; FSDP full shard = 3).
        zero_group: ranks that share one copy of the sharded state (0 = all data- and context-parallel ranks).
        offload_optimizer: share of the optimizer state that lives in host memory (0 or 1 in the search).
        micro_batches: micro-batches per replica and step.
    """

    dp: Column
    zero: Column
    zero_group: Column
    offload_optimizer: Column
    micro_batches: Column


def tokens_per_rank(shard: Shard, seq: Column) -> Column:
    """Tokens of one micro-batch that one rank's matmuls see."""
    return shard.micro_batch * seq / shard.cp


def residual_tokens(shard: Shard, seq: Column) -> Column:
    """Tokens of the residual stream that one rank holds: split over tp under sequence parallelism."""
    return tokens_per_rank(shard, seq) / np.where(shard.sp > 0, shard.tp, 1.0)


def routed_tokens(shard: Shard, topk: Column, seq: Column) -> Column:
    """Token copies that one rank's experts process, routing balanced.

    Each of the tp ranks dispatches its share of the tokens; expert tensor parallelism gathers them again.
    """
    return tokens_per_rank(shard, seq) * topk * shard.etp / shard.tp


def world_size(shard: Shard, pipe: Pipe, replicas: Replicas) -> Column:
    """Accelerators a layout uses: tp·cp·pp·dp (experts share the same ranks)."""
    return shard.tp * shard.cp * pipe.pp * replicas.dp


def expert_replicas(shard: Shard, dp: Column) -> Column:
    """Ranks of one stage that hold the same experts: tp·cp·dp / (ep·etp)."""
    return shard.tp * shard.cp * dp / (shard.ep * shard.etp)
