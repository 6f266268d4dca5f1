"""Bytes on one rank, by component, after data-parallel sharding."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.layout import Pipe, Replicas, Shard, expert_replicas
from costmodels.recipe import Recipe
from costmodels.schedule import in_flight
from costmodels.stage import StageBytes

GATHERED_UNITS = 2.0
"""Layers whose gathered parameters a ZeRO-3 rank holds at once: the one in use and the one being fetched."""


def sharding_ranks(s: Shard, replicas: Replicas) -> tuple[Column, Column]:
    """Over how many ranks ZeRO splits non-expert and expert state.

    Rajbhandari et al. 2020; context-parallel ranks hold the same weights and count as data parallel. Experts are
    split over all ranks of the stage that hold the same ones.
    """
    data = replicas.dp * s.cp
    group = np.where(replicas.zero_group > 0, np.minimum(replicas.zero_group, data), data)
    copies = expert_replicas(s, replicas.dp)
    return group, np.maximum(np.where(replicas.zero_group > 0, np.minimum(copies, group), copies), 1.0)


def rank_bytes(stage: StageBytes, s: Shard, pipe: Pipe, replicas: Replicas, r: Recipe) -> dict[str, Column]:
    """Bytes of one rank of a stage by component; their sum must not exceed the device's memory.

    ``weights``, ``gradients``, ``master_weights`` and ``optimizer`` follow the recipe's bytes and the ZeRO stage
    (stage 1 splits master and optimizer, 2 also gradients, 3 also weights). ``gathered`` are the ZeRO-2/3
    communication units, ``activations`` the micro-batches in flight, ``working`` recomputation, backward transients
    or logits, ``fragmentation`` the allocator's share, ``reserve`` what driver and communication libraries hold.

    Where the working parameter is the optimizer's own (fully sharded data parallel: wider than what travels), ZeRO 2
    splits it too, and what its ranks hold whole are the gathered copies. Where weights are frozen, or a reference model
    is held, ``frozen_weights`` comes before the others.
    """
    ranks, expert_ranks = sharding_ranks(s, replicas)

    def state(bytes_per_param: Column, from_stage: int | Column) -> Column:
        sharded = replicas.zero >= from_stage
        dense = stage.dense_params / np.where(sharded, ranks, 1.0)
        expert = stage.expert_params / np.where(sharded, expert_ranks, 1.0)
        return bytes_per_param * (dense + expert)

    own = r.parameter_bytes > r.gather_bytes
    unit = stage.unit_dense_params + stage.unit_expert_params
    units = np.where(replicas.zero >= 3, GATHERED_UNITS * unit + stage.end_unit_params, 0.0)
    # Pipeline schedules reduce after the last micro-batch: until then the gathered gradients stay beside the weights.
    gathered_whole = np.where(pipe.pp > 1, 2.0, 1.0) * (stage.dense_params + stage.expert_params)
    copies = np.where(own & (replicas.zero == 2), gathered_whole, units)
    bucket = np.where(replicas.zero >= 2, r.reduce_bytes * unit, 0.0)
    resident = 1.0 - replicas.offload_optimizer
    in_use = in_flight(pipe, replicas.micro_batches, stage.stage)
    frozen = np.any((stage.frozen_bytes > 0) | (stage.frozen_expert_bytes > 0))
    parts = _frozen(stage, replicas, ranks, expert_ranks) if frozen else {}
    travelling = parts.pop("gathered", np.zeros(()))
    parts |= {
        "weights": state(r.parameter_bytes, np.where(own, 2.0, 3.0)) + state(r.cast_bytes, 3),
        "gradients": state(r.gradient_bytes, 2) + resident * state(r.step_gradient_bytes, 1),
        "master_weights": resident * state(r.master_bytes, 1),
        "optimizer": resident * state(r.moment_bytes, 1),
        "gathered": r.gather_bytes * copies + bucket + travelling,
        "activations": (stage.activation_bytes + stage.output_bytes) * in_use + stage.end_bytes,
        "working": stage.working_bytes,
    }
    return parts | {
        "fragmentation": r.fragmentation * allocated_bytes(parts),
        "reserve": r.reserve_bytes,
    }


def _frozen(stage: StageBytes, replicas: Replicas, ranks: Column, expert_ranks: Column) -> dict[str, Column]:
    """Weights that are not trained, split by ZeRO 3 like trained ones, and their gathered units."""
    whole = replicas.zero >= 3
    held = stage.frozen_bytes / np.where(whole, ranks, 1.0) + stage.frozen_expert_bytes / np.where(
        whole, expert_ranks, 1.0
    )
    units = GATHERED_UNITS * (stage.frozen_unit_bytes + stage.frozen_expert_unit_bytes)
    return {"frozen_weights": held, "gathered": np.where(whole, units, 0.0)}


def allocated_bytes(parts: dict[str, Column]) -> Column:
    """Peak of the allocator's live bytes: all components but fragmentation and reserve."""
    live = (value for name, value in parts.items() if name not in {"fragmentation", "reserve"})
    return sum(live, start=np.zeros(()))


def reserved_bytes(parts: dict[str, Column]) -> Column:
    """Peak of what the allocator holds: live bytes and fragmentation."""
    return allocated_bytes(parts) + parts["fragmentation"]


def first_step_bytes(parts: dict[str, Column]) -> Column:
    """Peak of the allocator's live bytes at the end of the first step, as Megatron-LM prints it.

    The optimizer's state does not exist before the first update, when the activations are gone: the peak is that of
    the first passes without that state, or all state together.
    """
    live = allocated_bytes(parts)
    states = parts["weights"] + parts["gradients"] + parts["master_weights"] + parts["optimizer"]
    states = states + parts.get("frozen_weights", np.zeros(()))
    return np.maximum(live - parts["optimizer"], states)
