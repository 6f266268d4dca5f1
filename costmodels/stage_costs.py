"""What a step needs to know of all stages of a layout: the slowest, their sum, the largest shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from costmodels.columns import Column, Columns, nothing
from costmodels.elementwise import HALF
from costmodels.layers import Layers
from costmodels.layout import Pipe, tokens_per_rank
from costmodels.partition import peak_loads
from costmodels.recomputation import recomputed_share
from costmodels.setting import Setting
from costmodels.stage_params import StageParams, stage_params
from costmodels.stage_seconds import StageSeconds, overlaps, stage_seconds


@dataclass(frozen=True, eq=False)
class Beside(Columns):
    """Layouts whose experts' exchange runs beside another micro-batch, and their stages in steps that have none.

    Attributes:
        allowed: 1 where the layout lets it.
        slowest_s, all_stages_s, forward_s, backward_s: of the stages as in :class:`StageCosts`, exchange waiting.
    """

    allowed: Column
    slowest_s: Column
    all_stages_s: Column
    forward_s: Column
    backward_s: Column


@dataclass(frozen=True, eq=False)
class StageCosts(Columns):
    """What a step needs to know of the stages of a layout.

    Attributes:
        slowest_s: one micro-batch on the slowest stage, forward, backward and recomputation.
        all_stages_s: the same summed over all stages.
        forward_s, backward_s: of the stage that is longest in each (windows in which traffic can hide).
        weight_gradient_s: of one micro-batch, mean over the stages.
        layers: of the largest stage of an even cut.
        dense_params, expert_params: on the rank that holds most of each.
        frozen_bytes, frozen_expert_bytes: of weights that are not trained, as ZeRO 3 gathers them.
        beside: what the number of micro-batches changes (None: nothing).
        message_bytes: what a rank sends to the next stage: its share of one activation, split over tp (Narayanan et al.
            2021, section 4.1) and gathered again inside the server.
    """

    slowest_s: Column
    all_stages_s: Column
    forward_s: Column
    backward_s: Column
    weight_gradient_s: Column
    layers: Column
    dense_params: Column
    expert_params: Column
    message_bytes: Column
    frozen_bytes: Column = field(default_factory=nothing)
    frozen_expert_bytes: Column = field(default_factory=nothing)
    beside: Beside | None = None


Loads = Sequence[tuple[Column, Column, Column]]
"""Stages with their dense and MoE layers (:func:`costmodels.partition.peak_loads`)."""


def stage_costs(x: Setting, layers: Layers, pipe: Pipe) -> StageCosts:
    """The slowest stage, the sum of the stages and the largest parameter shards."""
    loads = peak_loads(x.architecture, pipe)
    return replace(busy_stage_costs(x, layers, pipe, loads), beside=waiting_stages(x, layers, pipe, loads))


def busy_stage_costs(x: Setting, layers: Layers, pipe: Pipe, loads: Loads) -> StageCosts:
    """As :func:`stage_costs`, of steps with as many micro-batches as an overlap of the exchange of experts needs."""
    settled = layers.settled(overlaps(x, pipe, recomputed_share(x, pipe)))
    slowest_s, all_stages_s, forward_s, backward_s, weight_gradient_s = _peak_seconds(x, settled, pipe, loads)
    params = [stage_params(x, pipe, stage, dense, moe) for stage, dense, moe in loads]
    return StageCosts(
        slowest_s=slowest_s,
        all_stages_s=all_stages_s,
        forward_s=forward_s,
        backward_s=backward_s,
        weight_gradient_s=weight_gradient_s / pipe.pp,
        layers=np.ceil(x.architecture.layers / pipe.pp),
        dense_params=reduce(np.maximum, [p.dense_params for p in params]),
        expert_params=reduce(np.maximum, [p.expert_params for p in params]),
        message_bytes=message_bytes(x),
        frozen_bytes=reduce(np.maximum, [p.dense_bytes for p in params]),
        frozen_expert_bytes=reduce(np.maximum, [p.expert_bytes for p in params]),
    )


def waiting_stages(x: Setting, layers: Layers, pipe: Pipe, loads: Loads) -> Beside | None:
    """What :func:`busy_stage_costs` does not say of steps with fewer micro-batches (None: it says all)."""
    if x.overlap is None or not x.overlap.by_step:
        return None
    allowed = overlaps(x, pipe, recomputed_share(x, pipe))
    if not np.any(allowed):
        return None
    waiting = _peak_seconds(x, layers.settled(np.zeros((), dtype=bool)), pipe, loads)
    return Beside(np.asarray(allowed, dtype=np.float64), *waiting[:4])


def _peak_seconds(
    x: Setting, layers: Layers, pipe: Pipe, loads: Loads
) -> tuple[Column, Column, Column, Column, Column]:
    """The slowest stage, all stages, the longest forward and backward pass, and weight gradients of all stages."""
    a = x.architecture
    stages = [
        stage_seconds(x, layers, pipe, dense, moe, np.where(stage == pipe.pp - 1, 1.0, 0.0))
        for stage, dense, moe in loads
    ]
    whole = stage_seconds(x, layers, pipe, a.dense_layers, a.moe_layers, np.ones(()))
    return (
        reduce(np.maximum, [t.total for t in stages]),
        whole.total,
        reduce(np.maximum, [t.forward for t in stages]),
        reduce(np.maximum, [t.backward + t.recompute for t in stages]),
        whole.weight_gradient,
    )


def loaded_stage_costs(
    x: Setting, pipe: Pipe, seconds: StageSeconds, params: StageParams, beside: Column | None = None
) -> StageCosts:
    """As :func:`stage_costs`, of stages that are all given.

    Args:
        x: shards, (candidates, 1).
        pipe: cuts, (candidates, 1).
        seconds: of every stage, (candidates, stages), zero where there is none.
        params: of a rank of every stage, likewise.
        beside: 1 where ``seconds`` have the exchange of experts beside another micro-batch, (candidates, 1).
    """
    total = seconds.total
    slowest_s, all_stages_s = np.max(total, axis=1, keepdims=True), np.sum(total, axis=1, keepdims=True)
    forward_s = np.max(seconds.forward, axis=1, keepdims=True)
    backward_s = np.max(seconds.backward + seconds.recompute, axis=1, keepdims=True)
    return StageCosts(
        slowest_s=slowest_s,
        all_stages_s=all_stages_s,
        forward_s=forward_s,
        backward_s=backward_s,
        weight_gradient_s=np.sum(seconds.weight_gradient, axis=1, keepdims=True) / pipe.pp,
        layers=np.ceil(x.architecture.layers / pipe.pp),
        dense_params=np.max(params.dense_params, axis=1, keepdims=True),
        expert_params=np.max(params.expert_params, axis=1, keepdims=True),
        message_bytes=message_bytes(x),
        frozen_bytes=np.max(params.dense_bytes, axis=1, keepdims=True),
        frozen_expert_bytes=np.max(params.expert_bytes, axis=1, keepdims=True),
        beside=None if beside is None else Beside(beside, slowest_s, all_stages_s, forward_s, backward_s),
    )


def message_bytes(x: Setting) -> Column:
    """What a rank sends to the next stage for one micro-batch."""
    return HALF * x.architecture.hidden * tokens_per_rank(x.shard, x.seq) / x.shard.tp
