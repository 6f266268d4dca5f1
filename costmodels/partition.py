"""Which layers stand on which pipeline stage.

Layers are cut into pp·vpp chunks of equal size; chunk j stands on stage j mod pp. Where the layers do not divide, the
first and the last chunk are shorter (the embedding and the head stand there), as Megatron-LM's uneven first and last
stages do.
"""

from __future__ import annotations

import numpy as np

from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.layout import Pipe

CHUNK_CELLS = 50_000
"""About how many chunks are looked at in one call: few enough that a large table of layouts needs little memory."""


def chunk_layers(a: Architecture, pipe: Pipe) -> Column:
    """Layers of a full chunk."""
    return np.ceil(a.layers / (pipe.pp * pipe.vpp))


def missing_layers(a: Architecture, pipe: Pipe) -> Column:
    """Layers by which the first and the last chunk together fall short of full ones."""
    return chunk_layers(a, pipe) * pipe.pp * pipe.vpp - a.layers


def can_partition(a: Architecture, pipe: Pipe, uneven: Column) -> Column:
    """Whether the cut exists: even, or uneven where the framework allows it and no chunk is left empty.

    Models whose MoE layers alternate with dense ones need chunks of whole periods.
    """
    missing = missing_layers(a, pipe)
    last_keeps_one = np.ceil(missing / 2) <= chunk_layers(a, pipe) - 1
    cut = (missing == 0) | ((uneven > 0) & (pipe.pp > 1) & last_keeps_one)
    periods = (a.moe_every <= 1) | (np.mod(chunk_layers(a, pipe), np.maximum(a.moe_every, 1)) == 0)
    possible: Column = cut & periods & ((pipe.vpp == 1) | (pipe.pp > 1))
    return possible


def stage_layers(
    a: Architecture, pipe: Pipe, stage: Column, last_take_more: Column | None = None
) -> tuple[Column, Column]:
    """Dense and MoE layers of a stage.

    Where ``last_take_more`` is 1, layers that do not divide go one each to the last chunks instead of missing at both
    ends (``partition_uniform`` of InternEvo).
    """
    dense: Column = np.zeros(())
    moe: Column = np.zeros(())
    turns = int(np.max(pipe.vpp, initial=1))
    dimensions = max(np.ndim(column) for column in (a.layers, pipe.pp, pipe.vpp, stage))
    at_once = max(CHUNK_CELLS // max(np.size(pipe.vpp), np.size(stage), 1), 1)
    for begin in range(0, turns, at_once):
        turn = np.arange(begin, min(begin + at_once, turns), dtype=np.float64).reshape(-1, *[1] * dimensions)
        present = turn < pipe.vpp
        here = layers_of_chunk(a, pipe, turn * pipe.pp + stage, last_take_more)
        dense = dense + np.where(present, here[0], 0.0).sum(axis=0)
        moe = moe + np.where(present, here[1], 0.0).sum(axis=0)
    return dense, moe


def layers_of_chunk(
    a: Architecture, pipe: Pipe, index: Column, last_take_more: Column | None = None
) -> tuple[Column, Column]:
    """Dense and MoE layers of one chunk; chunk j stands on stage j mod pp (see :func:`stage_layers`)."""
    chunk = chunk_layers(a, pipe)
    missing = missing_layers(a, pipe)
    short_before = short_after = np.floor(missing / 2)
    if last_take_more is not None:
        short_before = np.where(last_take_more > 0, np.minimum(index, missing), short_before)
        short_after = np.where(last_take_more > 0, np.minimum(index + 1, missing), short_after)
    start = np.clip(index * chunk - short_before, 0.0, a.layers)
    end = np.clip((index + 1) * chunk - short_after, 0.0, a.layers)
    moe = _moe_layers_before(a, end) - _moe_layers_before(a, start)
    return end - start - moe, moe


def _moe_layers_before(a: Architecture, layer: Column) -> Column:
    """MoE layers among the first ``layer`` layers."""
    periods = np.floor(np.maximum(layer - a.first_dense_layers, 0.0) / np.maximum(a.moe_every, 1.0))
    return np.where(a.experts > 0, periods, 0.0)


def peak_stages(a: Architecture, pipe: Pipe) -> tuple[Column, ...]:
    """Stages among which the largest memory and the longest time of any stage must be found.

    Stages of equal make-up differ only in micro-batches in flight, which fall with the stage: so the first stage,
    the first full one, the one where dense layers end, the one after it, and the last.
    """
    # Where the first chunk is short, all layers stand as if that many came before them.
    dense = np.where(a.experts > 0, a.first_dense_layers + np.floor(missing_layers(a, pipe) / 2), 0.0)
    boundary = np.mod(np.floor(dense / chunk_layers(a, pipe)), pipe.pp)
    last = pipe.pp - 1
    zero = np.zeros_like(last)
    return zero, np.minimum(1.0, last), boundary + zero, np.mod(boundary + 1, pipe.pp), last


def peak_loads(a: Architecture, pipe: Pipe) -> list[tuple[Column, Column, Column]]:
    """The stages of :func:`peak_stages` with their dense and MoE layers."""
    return [(stage, *stage_layers(a, pipe, stage)) for stage in peak_stages(a, pipe)]
