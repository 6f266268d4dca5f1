"""Memory and throughput of many layouts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column
from costmodels.layers import layers_of
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.memory import on_device
from costmodels.partition import peak_stages
from costmodels.stage_bytes import stage_bytes
from costmodels.stage_costs import stage_costs
from optimizer.layout import Layout
from optimizer.physics import Physics


@dataclass(frozen=True)
class Figures:
    """Figures of layouts, one entry each.

    Attributes:
        bytes: on the fullest rank.
        step_s: seconds of a step.
        tokens_per_s: of the whole cluster.
    """

    bytes: Column
    step_s: Column
    tokens_per_s: Column


def figures(physics: Physics, layouts: Sequence[Layout]) -> Figures:
    """Memory and throughput of layouts on one site."""
    rows = [layout.degrees for layout in layouts]

    def column(name: str) -> Column:
        return np.array([row[name] for row in rows], dtype=np.float64)

    shard = Shard.from_values(**{name: column(name) for name in Shard.names()})
    pipe = Pipe.from_values(**{name: column(name) for name in Pipe.names()})
    replicas = Replicas.from_values(**{name: column(name) for name in Replicas.names()})
    x = physics.setting(shard)
    layers = layers_of(x)
    total = []
    for stage in peak_stages(physics.architecture, pipe):
        parts = physics.memory(stage_bytes(x, layers, pipe, stage), shard, pipe, replicas)
        held = on_device(parts, physics.device.memory_bytes)
        total.append(np.broadcast_to(sum(held.values(), start=np.zeros(())), (len(rows),)))
    step = physics.step(stage_costs(x, layers, pipe), shard, pipe, replicas)
    step_s = np.broadcast_to(sum(step.values(), start=np.zeros(())), (len(rows),))
    batch = np.array([layout.global_batch for layout in layouts], dtype=np.float64)
    return Figures(np.max(np.stack(total), axis=0), step_s, batch * physics.seq / step_s)
