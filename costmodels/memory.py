"""Bytes on one rank, by component, after data-parallel sharding."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.layout import Pipe, Replicas, Shard, expert_replicas
from costmodels.recipe import Recipe
from costmodels.schedule import in_flight
from costmodels.stage import StageBytes

GATHERED_UNITS = 2.0
"""Layers whose gathered parameters a ZeRO-3 rank holds at once: the one in use and the one being fetched."""


def sharding_ranks(s: Shard, replicas: Replicas) -> tuple[Column, Column]:
    """Over how many ranks ZeRO splits non-expert and expert state.

    Rajbhandari et al. 2020; context-parallel ranks hold the same weights and count as data parallel.
    """
    data = replicas.dp * s.cp
    group = np.where(replicas.zero_group > 0, np.minimum(replicas.zero_group, data), data)
    return group, np.maximum(np.minimum(expert_replicas(s, replicas.dp), group), 1.0)


def rank_bytes(
    stage: StageBytes, s: Shard, pipe: Pipe, replicas: Replicas, r: Recipe, e: Efficiency
) -> dict[str, Column]:
    """Bytes of one rank of a stage by component; their sum must not exceed the device's memory.

    ``weights``, ``gradients``, ``master_weights`` and ``optimizer`` follow the recipe's bytes and the ZeRO stage
    (stage 1 splits master and optimizer, 2 also gradients, 3 also weights). ``gathered`` are the ZeRO-2/3
    communication units, ``activations`` the micro-batches in flight, ``working`` recomputation, backward transients
    or logits, ``fragmentation`` the allocator's share, ``reserve`` what driver and communication libraries hold.
    """
    ranks, expert_ranks = sharding_ranks(s, replicas)

    def state(bytes_per_param: Column, from_stage: int) -> Column:
        sharded = replicas.zero >= from_stage
        dense = stage.dense_params / np.where(sharded, ranks, 1.0)
        expert = stage.expert_params / np.where(sharded, expert_ranks, 1.0)
        return bytes_per_param * (dense + expert)

    unit = stage.unit_dense_params + stage.unit_expert_params
    gathered = np.where(replicas.zero >= 3, GATHERED_UNITS * r.gather_bytes * unit, 0.0)
    bucket = np.where(replicas.zero >= 2, r.reduce_bytes * unit, 0.0)
    resident = 1.0 - replicas.offload_optimizer
    parts = {
        "weights": state(r.parameter_bytes + r.cast_bytes, 3),
        "gradients": state(r.gradient_bytes, 2),
        "master_weights": resident * state(r.master_bytes, 1),
        "optimizer": resident * state(r.moment_bytes, 1),
        "gathered": gathered + bucket,
        "activations": stage.activation_bytes * in_flight(pipe, replicas.micro_batches, stage.stage) + stage.end_bytes,
        "working": stage.working_bytes,
    }
    allocated = sum(parts.values(), start=np.zeros(()))
    return parts | {"fragmentation": e.fragmentation * allocated, "reserve": e.reserve_bytes}
