"""Bytes on one rank, by component, after data-parallel sharding."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column
from costmodels.layout import Pipe, Replicas, Shard, expert_replicas
from costmodels.recipe import Recipe
from costmodels.schedule import in_flight
from costmodels.stage_bytes import StageBytes

GATHERED_UNITS = 2.0
"""Layers whose gathered parameters a ZeRO-3 rank holds at once: the one in use and the one being fetched."""

FIRST_MATRICES = 2.0 / 3.0
"""Share of an expert's parameters in its gate and up matrices."""

LARGEST_MATRIX = 1.0 / 3.0
"""Share of a layer's parameters in its largest matrix: one of three of a gated MLP, or the two of a plain one beside
attention."""

LEAST_FRAGMENTATION = 0.03
"""Share of live bytes that the allocator holds on top even when memory is short and it returns what it caches: the low
end of reserved over allocated bytes in measured runs (3 to 9%)."""


def sharding_ranks(s: Shard, replicas: Replicas) -> tuple[Column, Column]:
    """Over how many ranks ZeRO splits non-expert and expert state.

    Rajbhandari et al. 2020; context-parallel ranks hold the same weights and count as data parallel. Experts are
    split over all ranks of the stage that hold the same ones.
    """
    data = replicas.dp * s.cp
    group = np.where(replicas.zero_group > 0, np.minimum(replicas.zero_group, data), data)
    copies = expert_replicas(s, replicas.dp)
    return group, np.maximum(np.where(replicas.zero_group > 0, np.minimum(copies, group), copies), 1.0)


def update_bytes(stage: StageBytes, s: Shard, replicas: Replicas, r: Recipe) -> Column:
    """Temporaries of the update on one rank, when the activations are gone.

    Of its whole partition at once, or of its largest tensor where the update goes tensor by tensor: the embedding, the
    head, or the first matrices of all experts of a layer, which are one tensor.
    """
    if not np.any(r.update_bytes):
        return np.zeros(())
    ranks, expert_ranks = sharding_ranks(s, replicas)
    split = replicas.zero >= 1
    mine = stage.dense_params / np.where(split, ranks, 1.0) + stage.expert_params / np.where(split, expert_ranks, 1.0)
    whole = (1.0 - replicas.offload_optimizer) * r.update_bytes * mine
    largest = np.maximum(stage.end_unit_params, FIRST_MATRICES * stage.unit_expert_params)
    return np.where(r.update_by_tensor > 0, np.minimum(whole, r.update_bytes * largest), whole)


def rank_bytes(stage: StageBytes, s: Shard, pipe: Pipe, replicas: Replicas, r: Recipe) -> dict[str, Column]:
    """Bytes of one rank of a stage by component; their sum must not exceed the device's memory.

    ``weights``, ``gradients``, ``master_weights`` and ``optimizer`` follow the recipe's bytes and the ZeRO stage
    (stage 1 splits master and optimizer, 2 also gradients, 3 also weights). ``gathered`` are the ZeRO-2/3
    communication units, ``activations`` the micro-batches in flight, ``working`` recomputation, backward transients
    or logits, ``update`` what the temporaries of the update take beyond the three before it, which are gone by then,
    ``fragmentation`` the allocator's share where memory is not short, ``reserve`` what driver and communication
    libraries hold.

    Where the working parameter is the optimizer's own (fully sharded data parallel: wider than what travels), ZeRO 2
    splits it too, and what its ranks hold whole are the gathered copies. Where weights are frozen, or a reference model
    is held, ``frozen_weights`` comes before the others.
    """
    ranks, expert_ranks = sharding_ranks(s, replicas)

    has_experts = np.any(stage.expert_params)

    def state(bytes_per_param: Column, from_stage: int | Column) -> Column:
        sharded = replicas.zero >= from_stage
        held = stage.dense_params * (bytes_per_param / np.where(sharded, ranks, 1.0))
        if has_experts:
            held = held + stage.expert_params * (bytes_per_param / np.where(sharded, expert_ranks, 1.0))
        return held

    own = r.parameter_bytes > r.gather_bytes
    unit = stage.unit_dense_params + stage.unit_expert_params
    gathered = GATHERED_UNITS * unit + stage.end_unit_params
    if np.any(r.live_params):  # by single matrices up to a number of parameters, the largest one in any case
        live = np.minimum(np.maximum(r.live_params, unit * LARGEST_MATRIX), stage.dense_params + stage.expert_params)
        gathered = np.where(r.live_params > 0, live, gathered)
    units = np.where(replicas.zero >= 3, gathered, 0.0)
    # Pipeline schedules reduce after the last micro-batch: until then the gathered gradients stay beside the weights.
    gathered_whole = np.where(pipe.pp > 1, 2.0, 1.0) * (stage.dense_params + stage.expert_params)
    copies = np.where(own & (replicas.zero == 2), gathered_whole, units)
    # Gradients that travel as they were computed are reduced where they were written, but for DeepSpeed's buckets.
    copied = (r.reduce_bytes > r.scratch_gradient_bytes) | (r.live_params > 0)
    bucket = np.where((replicas.zero >= 2) & copied, r.reduce_bytes * unit, 0.0)
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
    passes = parts["gathered"] + parts["activations"] + parts["working"]
    parts["update"] = np.maximum(update_bytes(stage, s, replicas, r) - passes, 0.0)
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


def needed_bytes(parts: dict[str, Column]) -> Column:
    """What the device must have: live bytes, the least fragmentation and what driver and libraries hold."""
    live = allocated_bytes(parts)
    return live + np.minimum(parts["fragmentation"], LEAST_FRAGMENTATION * live) + parts["reserve"]


def on_device(parts: dict[str, Column], capacity: Column) -> dict[str, Column]:
    """The components as they are on a device: the allocator's cache is no larger than what is free, or needed."""
    free = capacity - allocated_bytes(parts) - parts["reserve"]
    least = needed_bytes(parts) - allocated_bytes(parts) - parts["reserve"]
    return parts | {"fragmentation": np.minimum(parts["fragmentation"], np.maximum(free, least))}


def first_step_bytes(parts: dict[str, Column], update: Column) -> Column:
    """Peak of the allocator's live bytes at the end of the first step, as Megatron-LM prints it.

    The optimizer's state does not exist before the first update, when the activations are gone: the peak is that of
    the first passes without that state, or all state together with the temporaries of the update
    (:func:`update_bytes`).
    """
    states = parts["weights"] + parts["gradients"] + parts["master_weights"] + parts["optimizer"]
    states = states + parts.get("frozen_weights", np.zeros(()))
    passes = allocated_bytes(parts) - parts["update"] - parts["optimizer"]
    return np.maximum(passes, states + update)
