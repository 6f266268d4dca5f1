"""Seconds of one optimizer step, by component."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np

from costmodels.collectives import (
    all_reduce_latency_s,
    gather_seconds,
    gather_seconds_per_byte,
    group_bandwidth,
    neighbour_seconds,
    ring_latency_s,
)
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layout import Pipe, Replicas, expert_replicas, world_size
from costmodels.memory import sharding_ranks
from costmodels.overlap import Overlap, meets_another
from costmodels.schedule import bubble_seconds
from costmodels.setting import Setting
from costmodels.stage_costs import StageCosts


def step_seconds(x: Setting, stage: StageCosts, pipe: Pipe, replicas: Replicas) -> dict[str, Column]:
    """Seconds of one step by component, summing to the step.

    ``stages`` is the slowest stage's work on all micro-batches; ``bubble`` its wait; ``pipeline_comm`` exposed
    messages between stages; ``data_comm`` exposed gradient and parameter traffic; ``optimizer`` the update;
    ``overhead`` what a step does outside the model; ``jitter`` the growth with the number of servers.
    """
    steady = steady_seconds(x, stage, pipe, replicas)
    jitter = reduce(np.add, steady.values()) * _jitter_share(x, pipe, replicas)
    return steady | {"overhead": x.efficiency.step_overhead_s, "jitter": jitter}


def whole_step_seconds(x: Setting, stage: StageCosts, pipe: Pipe, replicas: Replicas) -> Column:
    """The sum of :func:`step_seconds`, in fewer passes over large tables."""
    steady = reduce(np.add, steady_seconds(x, stage, pipe, replicas).values())
    return steady * (1.0 + _jitter_share(x, pipe, replicas)) + x.efficiency.step_overhead_s


def steady_seconds(x: Setting, stage: StageCosts, pipe: Pipe, replicas: Replicas) -> dict[str, Column]:
    """Seconds of the components that grow together when everybody waits for the slowest server."""
    if x.overlap is not None:
        x, stage = _in_step(x, x.overlap, stage, pipe, replicas)
    return {
        "stages": replicas.micro_batches * stage.slowest_s,
        "bubble": bubble_seconds(pipe, stage.slowest_s, stage.all_stages_s, stage.weight_gradient_s),
        "pipeline_comm": pipeline_seconds(x, stage, pipe, replicas),
        "data_comm": data_parallel_seconds(x, stage, replicas),
        "optimizer": optimizer_seconds(x, stage, replicas),
    }


def _in_step(
    x: Setting, overlap: Overlap, stage: StageCosts, pipe: Pipe, replicas: Replicas
) -> tuple[Setting, StageCosts]:
    """Setting and stages in a step of so many micro-batches under a switch that overlaps the exchange of experts.

    Where no other micro-batch is beside one, the exchange waits; where it runs, it may take the place of other overlap.
    """
    if (beside := stage.beside) is None:
        return x, stage
    another = meets_another(overlap, pipe, replicas.micro_batches)
    if overlap.or_data:
        left = x.recipe.overlaps_data * (1.0 - another * beside.allowed)
        x = replace(x, recipe=replace(x.recipe, overlaps_data=left))
    if np.all(another):
        return x, stage
    return x, replace(
        stage,
        slowest_s=np.where(another, stage.slowest_s, beside.slowest_s),
        all_stages_s=np.where(another, stage.all_stages_s, beside.all_stages_s),
        forward_s=np.where(another, stage.forward_s, beside.forward_s),
        backward_s=np.where(another, stage.backward_s, beside.backward_s),
    )


def _jitter_share(x: Setting, pipe: Pipe, replicas: Replicas) -> Column:
    return jitter_share(world_size(x.shard, pipe, replicas), x.device, x.efficiency)


def jitter_share(accelerators: Column, d: Device, e: Efficiency) -> Column:
    """Share by which a step grows because everybody waits for the slowest of many servers."""
    return e.jitter_per_doubling * np.log2(np.maximum(accelerators / d.server_accelerators, 1.0))


def pipeline_seconds(x: Setting, stage: StageCosts, pipe: Pipe, replicas: Replicas) -> Column:
    """Exposed seconds of messages between stages: one each way per micro-batch and chunk, and once to fill the pipe.

    Interleaved schedules overlap them with compute as far as the profile's overlap says.
    """
    s, d, e = x.shard, x.device, x.efficiency
    one = neighbour_seconds(
        stage.message_bytes, s.tp * s.cp * replicas.dp, pipe.pp, d, e.scale_up_efficiency, e.scale_out_efficiency
    )
    exposed = np.where(pipe.pp > 1, np.where(pipe.vpp > 1, 1.0 - e.tensor_overlap, 1.0), 0.0)
    # The sum over micro-batches · vpp + (pp - 1) messages, with what varies by layout and by replicas kept apart.
    both_ways = 2.0 * one
    return exposed * pipe.vpp * (replicas.micro_batches * both_ways) + exposed * ((pipe.pp - 1) * both_ways)


def data_parallel_seconds(x: Setting, stage: StageCosts, replicas: Replicas) -> Column:
    """Exposed seconds of gradient reduction and parameter gathering.

    ZeRO 0 reduces and redistributes gradients once per step, 1 reduces gradients and gathers parameters once, 2
    reduces per micro-batch, 3 also gathers per micro-batch, forward and backward (Rajbhandari et al. 2020, section 7),
    layer by layer, each with the latency of a collective; weights that are not trained travel only there.
    What overlaps does so with the forward or backward pass of one micro-batch.
    """
    s, r, d, e = x.shard, x.recipe, x.device, x.efficiency
    ranks, expert_ranks = sharding_ranks(s, replicas)
    backward: list[Column] = []
    forward: list[Column] = []
    copies: list[Column] = []
    travels = np.where(replicas.zero == 0, r.reduce_bytes, r.gather_bytes)
    again = np.where(replicas.zero >= 3, 1.0, 0.0)
    collectives = np.where(replicas.zero >= 3, stage.layers, 1.0)
    for params, frozen_bytes, split, all_ranks, stride in (
        (stage.dense_params, stage.frozen_bytes, ranks, replicas.dp * s.cp, s.tp),
        (
            stage.expert_params,
            stage.frozen_expert_bytes,
            expert_ranks,
            expert_replicas(s, replicas.dp),
            s.ep * s.etp,
        ),
    ):
        if not np.any(params) and not np.any(frozen_bytes):
            continue
        bandwidth = group_bandwidth(split, stride, d, e.scale_up_efficiency, e.scale_out_efficiency)
        per_byte = gather_seconds_per_byte(split, bandwidth)
        latency_s = np.where(split > 1, collectives * ring_latency_s(split, stride, d), 0.0)
        backward.append(params * ((r.reduce_bytes + again * travels) * per_byte) + (1.0 + again) * latency_s)
        forward.append(params * (travels * per_byte) + latency_s)
        if np.any(frozen_bytes):
            travelling = again * frozen_bytes * per_byte
            backward.append(travelling)
            forward.append(travelling)
        # Several copies of the sharded state (HSDP; experts on more ranks than share a state): their gradient shards
        # are all-reduced across the copies.
        replicated = np.maximum(all_ranks / split, 1.0)
        if not np.any(replicated > 1):
            continue
        across = group_bandwidth(replicated, stride * split, d, e.scale_up_efficiency, e.scale_out_efficiency)
        across_latency = all_reduce_latency_s(replicated, stride * split, d)
        copies.append(2.0 * gather_seconds(r.reduce_bytes * params / split, replicated, across, across_latency))

    def exposed(traffic: list[Column], window: Column) -> Column:
        whole = reduce(np.add, traffic) if traffic else np.zeros(())
        return whole - np.minimum(r.overlaps_data * e.data_overlap * whole, window)

    def repeated(seconds: Column, from_stage: int) -> Column:
        """Once per micro-batch from a ZeRO stage on, else once per step."""
        often = replicas.zero >= from_stage
        return seconds * np.where(often, replicas.micro_batches, 1.0) if np.any(often) else seconds

    seconds = repeated(exposed(backward, stage.backward_s), 2) + repeated(exposed(forward, stage.forward_s), 3)
    return seconds + exposed(copies, stage.backward_s) if copies else seconds


def optimizer_seconds(x: Setting, stage: StageCosts, replicas: Replicas) -> Column:
    """Seconds of the update: state read and written, gradient read, parameter written, at memory speed.

    The offloaded share of the state moves at the speed of the host link instead, after the rest.
    """
    r, d, e = x.recipe, x.device, x.efficiency
    ranks, expert_ranks = sharding_ranks(x.shard, replicas)
    sharded = replicas.zero >= 1
    # Without a master copy the parameter itself is read and written.
    own = np.where(r.master_bytes > 0, 1.0, 2.0) * r.parameter_bytes
    moved_bytes = 2.0 * (r.master_bytes + r.moment_bytes) + r.gradient_bytes + own
    host = np.maximum(d.host_link_bytes_per_s, 1.0)
    memory = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    away = replicas.offload_optimizer
    per_parameter_s = moved_bytes * (1.0 - away) / memory + moved_bytes * away / host
    seconds = stage.dense_params * (per_parameter_s / np.where(sharded, ranks, 1.0))
    if np.any(stage.expert_params):
        seconds = seconds + stage.expert_params * (per_parameter_s / np.where(sharded, expert_ranks, 1.0))
    return seconds
