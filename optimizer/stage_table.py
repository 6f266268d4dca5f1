"""Tables of stage rows, and how rows that share their replicas are laid out for evaluation.

A *stage row* is a shard with a cut, recomputation and offload; below it lie the data-parallel degrees. All rows of one
*group*, which is one shard with one pipeline depth, have the same degrees. A block holds groups along its first axis,
their rows along the second and the degrees along the third. What depends on the degree alone (bandwidths, servers) then
has one row per group, what depends on the row alone has one column, and only what depends on both is computed for
every candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.layout import Pipe, Shard
from costmodels.stage_bytes import StageBytes
from costmodels.stage_costs import StageCosts
from optimizer.space import Space, Way

BLOCK_CELLS = 32_768
"""About how many candidates are evaluated at once: enough to amortise a call, few enough to stay in cache."""

SMALL_BLOCK = 8_192
"""Cells below which another group joins a block whatever padding it needs."""

MOST_PADDING = 0.25
"""Share of padding that a block may come to have by another group."""


@dataclass(frozen=True)
class Ranks:
    """The part of a table of stage rows that memory depends on.

    Attributes:
        shard, pipe: the layout of each row.
        parts: bytes, peak stages down and rows across.
    """

    shard: Shard
    pipe: Pipe
    parts: StageBytes

    def take(self, index: NDArray[np.intp]) -> Ranks:
        """Some of the rows."""

        def chosen(column: Column) -> Column:
            return column[..., index]

        return Ranks(self.shard.map(chosen), self.pipe.map(chosen), self.parts.map(chosen))


@dataclass(frozen=True)
class Stages:
    """A flat table of stage rows.

    Attributes:
        group: number that rows of one shard and pipeline depth have in common.
        place, choice: which shard and which choice of the space a row is.
        shard, pipe: the layout.
        costs: seconds of a micro-batch.
        parts: bytes on the peak stages (empty until they are looked at).
        world: ranks of one replica.
        rows: candidates below each stage row.
    """

    group: NDArray[np.intp]
    place: NDArray[np.intp]
    choice: NDArray[np.intp]
    shard: Shard
    pipe: Pipe
    costs: StageCosts
    world: Column
    rows: NDArray[np.int64]
    parts: tuple[StageBytes, ...] = ()

    def take(self, index: NDArray[np.intp]) -> Stages:
        """Some of the rows."""

        def chosen(column: Any) -> Any:
            return column[index]

        return Stages(
            group=self.group[index],
            place=self.place[index],
            choice=self.choice[index],
            shard=self.shard.map(chosen),
            pipe=self.pipe.map(chosen),
            costs=self.costs.map(chosen),
            parts=tuple(part.map(chosen) for part in self.parts),
            world=self.world[index],
            rows=self.rows[index],
        )

    @property
    def ranks(self) -> Ranks:
        """What the memory of the rows depends on; peak stages that are another one for every row are left out."""
        parts: list[StageBytes] = []
        for part in self.parts:
            if not any(np.array_equal(part.stage, other.stage) for other in parts):
                parts.append(part)
        return Ranks(self.shard, self.pipe, StageBytes.stack(parts))

    def block(self, index: NDArray[np.intp]) -> Block:
        """Rows as a block, ``index`` of shape (groups, rows)."""

        def by_row(column: Column) -> Column:
            return column[index][:, :, None]

        def by_group(column: Column) -> Column:
            return column[index[:, 0]][:, None, None]

        shard, pipe = self.shard.map(by_group), self.pipe.map(by_row)
        costs = self.costs.map(by_row)
        return Block(
            shard=replace(
                shard,
                selective=by_row(self.shard.selective),
                recompute_layers=by_row(self.shard.recompute_layers),
                offload_activations=by_row(self.shard.offload_activations),
            ),
            pipe=replace(pipe, pp=by_group(self.pipe.pp)),
            costs=replace(costs, layers=by_group(self.costs.layers), message_bytes=by_group(self.costs.message_bytes)),
            world=by_group(self.world),
        )


@dataclass(frozen=True)
class Block:
    """Groups, their rows, and room for degrees: every column has shape (groups, rows or 1, 1)."""

    shard: Shard
    pipe: Pipe
    costs: StageCosts
    world: Column

    def layout(self, group: int, row: int, dp: int, way: Way, space: Space) -> dict[str, int]:
        """The degrees of one candidate, as whole numbers."""

        def one(column: Column) -> int:
            return int(column[group, row if column.shape[1] > 1 else 0, 0])

        s, p = self.shard, self.pipe
        zero, offload, span = way
        micro_batch = one(s.micro_batch)
        return {
            "tp": one(s.tp),
            "sp": one(s.sp),
            "pp": one(p.pp),
            "vpp": one(p.vpp),
            "zero_bubble": one(p.zero_bubble),
            "dp": dp,
            "cp": one(s.cp),
            "ep": one(s.ep),
            "etp": one(s.etp),
            "zero": zero,
            "zero_group": span // one(s.tp),
            "micro_batch": micro_batch,
            "micro_batches": space.replicas.micro_batches_of(dp, micro_batch),
            "selective": one(s.selective),
            "recompute_layers": one(s.recompute_layers),
            "offload_activations": one(s.offload_activations),
            "offload_optimizer": offload,
        }


def blocks(group: NDArray[np.intp], degrees: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Cut rows into blocks of about :data:`BLOCK_CELLS` cells of groups alike in size.

    Args:
        group: of each row.
        degrees: cells that each row needs; the same in a group.

    Yields:
        Places of the rows, shape (groups, rows), and which of them are no padding.
    """
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.lexsort((number, sizes[number], degrees))
    firsts = np.flatnonzero(np.diff(number[order], prepend=-1))
    lengths, widths = sizes[number[order[firsts]]], degrees[order[firsts]]
    start = 0
    while start < len(firsts):
        end = _last_group(lengths, widths, start)
        tall = int(lengths[start:end].max())
        step = max(BLOCK_CELLS // max(int(widths[start]), 1), 1) if end == start + 1 else tall
        for begin in range(0, tall, step):
            place = np.arange(begin, min(begin + step, tall))[None, :]
            real = place < lengths[start:end, None]
            yield order[firsts[start:end, None] + np.where(real, place, 0)], real
        start = end


def _last_group(lengths: NDArray[np.int64], widths: NDArray[np.int64], start: int) -> int:
    """Where the block ends that begins with group ``start``: groups are ordered by width, then by length."""
    most = min(len(lengths), start + BLOCK_CELLS)
    tall = np.maximum.accumulate(lengths[start:most])
    cells = np.arange(1, most - start + 1) * tall * widths[start:most]
    used = np.cumsum(lengths[start:most] * widths[start:most])
    joins = (cells <= SMALL_BLOCK) | ((cells <= BLOCK_CELLS) & (used >= (1 - MOST_PADDING) * cells))
    joins[0] = True
    return start + (len(joins) if joins.all() else int(np.argmin(joins)))
