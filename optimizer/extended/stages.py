"""Layers and recomputed layers of every stage of many candidates: as they say, or solved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.partition import chunk_layers, stage_layers
from optimizer.extended.split import balanced, fewest_recomputed
from optimizer.extended.table import Table


def loads(t: Table) -> tuple[Column, Column, NDArray[np.bool_]]:
    """Layers and recomputed layers, (candidates, stages), and whether such stages exist, (candidates,)."""
    a = t.physics.architecture
    capacity = np.asarray(t.physics.room_bytes)
    dense, moe = stage_layers(a, t.pipe, t.stage)
    layers = np.where(t.exists, dense + moe, 0.0)
    full = chunk_layers(a, t.pipe) * t.pipe.vpp
    recomputed = np.minimum(t.shard.recompute_layers, full) / full * layers
    possible = np.ones(len(layers), dtype=bool)
    if (rows := np.flatnonzero(t.solved)).size:
        layers[rows], recomputed[rows], possible[rows] = _solved(t.take(rows))
    if (rows := np.flatnonzero(t.fitted & ~t.solved)).size:
        part, here = t.take(rows), layers[rows]
        recomputed[rows], _ = fewest_recomputed(part.memory(here), here, capacity)
    return layers, recomputed, possible


def _solved(t: Table) -> tuple[Column, Column, NDArray[np.bool_]]:
    """The fastest split, from a table over candidates, stages and layers per stage."""
    a = t.physics.architecture
    capacity = np.asarray(t.physics.room_bytes)
    total = int(a.layers)
    # No balanced stage has more than twice its even share, but for rounding.
    most = min(total, 2 * -(-total // int(np.min(t.pipe.pp))) + 2)
    deep = t.deepen()
    count = np.arange(1.0, most + 1.0) + np.zeros((*t.exists.shape, 1))
    memory = deep.memory(count)
    again = np.ceil(t.share[..., None] * count)
    fits = memory(again / count) <= capacity
    if t.fitted.any():
        fewest, fitting = fewest_recomputed(memory, count, capacity)
        found = t.fitted[:, None, None]
        again, fits = np.where(found, fewest, again), np.where(found, fitting, fits)
    # Where it is open how much is recomputed, the split is that of stages that wait for their experts' exchange.
    beside = deep.beside(t.share[..., None]) & ~t.fitted[:, None, None]
    seconds = np.where(fits & t.exists[..., None], deep.seconds(count, again, beside).total, np.inf)
    # A chunk is never empty, and the leading dense layers stay together.
    leading = np.where((t.stage == 0) & (a.experts > 0), a.first_dense_layers, 0.0)
    least = np.where(t.exists, np.maximum(t.pipe.vpp, leading), 0.0).astype(np.int64)
    layers, possible = balanced(seconds, least, total)
    place = np.maximum(layers - 1, 0)[..., None]
    recomputed = np.where(layers > 0, np.take_along_axis(again, place, axis=2)[..., 0], 0.0)
    return layers.astype(np.float64), recomputed, possible
