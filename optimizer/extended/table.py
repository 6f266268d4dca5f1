"""Candidates of one site as columns: degrees down, pipeline stages across."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.layers import Layers, layers_of
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.overlap import layout_allows, meets_another
from costmodels.partition import stage_layers
from costmodels.setting import Setting
from costmodels.stage_bytes import StageBytes, loaded_stage_bytes
from costmodels.stage_seconds import StageSeconds, stage_seconds
from optimizer.extended.candidate import FITTED, SOLVED, Candidate
from optimizer.physics import Physics
from optimizer.space import PARTIAL_SHARES, recompute_layers

SHARES: dict[str, float] = {"none": 0.0, "selective": 0.0, "full": 1.0} | {f"{x:.0%}": x for x in PARTIAL_SHARES}
"""Recomputed share of a full stage's layers by the word for it."""


@dataclass(frozen=True)
class Table:
    """Columns of shape (candidates, 1); with ``stage``, (1, stages), they broadcast to (candidates, stages).

    :meth:`deepen` gives a third axis, for layers per stage.

    Attributes:
        physics: of the site.
        candidates: the rows.
        shard, pipe, replicas: the degrees.
        share: recomputed share of a full stage, where the candidate says it.
        fitted, solved: (candidates,): whether recomputation, and layers per stage, are to be found.
        layers: layer-level results.
        stage: indices of the stages.
    """

    physics: Physics
    candidates: Sequence[Candidate]
    shard: Shard
    pipe: Pipe
    replicas: Replicas
    share: Column
    fitted: NDArray[np.bool_]
    solved: NDArray[np.bool_]
    layers: Layers
    stage: Column

    @classmethod
    def of(cls, physics: Physics, candidates: Sequence[Candidate]) -> Self:
        """The table of some candidates."""

        def column(name: str) -> Column:
            return np.array([[float(getattr(one, name))] for one in candidates])

        pipe = Pipe(**{name: column(name) for name in Pipe.names()})
        share = np.array([[SHARES.get(one.recompute, 0.0)] for one in candidates])
        tp, zero = column("tp"), np.zeros((len(candidates), 1))
        shard = Shard(
            tp=tp,
            sp=np.where((tp > 1) & physics.site.framework.sequence_parallel, 1.0, 0.0),
            cp=column("cp"),
            ep=column("ep"),
            etp=zero + 1.0,
            micro_batch=column("micro_batch"),
            selective=np.array([[float(one.recompute == "selective")] for one in candidates]),
            recompute_layers=recompute_layers(physics.architecture, pipe, share),
            offload_activations=column("offload_activations"),
        )
        return cls(
            physics=physics,
            candidates=candidates,
            shard=shard,
            pipe=pipe,
            replicas=Replicas(
                dp=column("dp"),
                zero=column("zero"),
                zero_group=column("zero_group"),
                offload_optimizer=column("offload_optimizer"),
                micro_batches=column("micro_batches"),
            ),
            share=share,
            fitted=np.array([one.recompute == FITTED for one in candidates]),
            solved=np.array([one.split == SOLVED and one.pp > 1 for one in candidates]),
            layers=layers_of(physics.setting(shard)),
            stage=np.arange(max(one.pp for one in candidates), dtype=np.float64)[None, :],
        )

    @property
    def setting(self) -> Setting:
        """What the layer level needs."""
        return self.physics.setting(self.shard)

    @property
    def exists(self) -> NDArray[np.bool_]:
        """Which stages a candidate has."""
        return np.asarray(self.stage < self.pipe.pp)

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Some of the candidates."""
        some = self._map(lambda c: c[rows] if c.ndim else c)
        chosen = [self.candidates[row] for row in rows.tolist()]
        return replace(some, candidates=chosen, fitted=self.fitted[rows], solved=self.solved[rows])

    def deepen(self) -> Table:
        """The same with a third axis."""
        return replace(self._map(lambda c: c[..., None] if c.ndim else c), stage=self.stage[..., None])

    def _map(self, function: Callable[[Column], Column]) -> Table:
        return replace(
            self,
            shard=self.shard.map(function),
            pipe=self.pipe.map(function),
            replicas=self.replicas.map(function),
            share=function(self.share),
            layers=self.layers.map(function),
        )

    def kinds(self, count: Column) -> tuple[Column, Column]:
        """Dense and MoE layers of stages with so many layers.

        Where layers per stage are found, the leading dense layers all stand on the first stage.
        """
        a = self.physics.architecture
        if not a.experts > 0:
            return count, np.zeros_like(count)
        dense, _ = stage_layers(a, self.pipe, self.stage)
        leading = np.where(self.stage == 0, np.minimum(count, a.first_dense_layers), 0.0)
        found = self.solved.reshape(-1, *[1] * (count.ndim - 1))
        dense = np.where(self.exists, np.where(found, leading, dense), 0.0)
        return dense, count - dense

    def seconds(self, count: Column, recomputed: Column, beside: NDArray[np.bool_]) -> StageSeconds:
        """Seconds of one micro-batch on stages with so many layers, some of them recomputed.

        ``beside`` says where the exchange of experts runs beside another micro-batch (:meth:`beside`).
        """
        dense, moe = self.kinds(count)
        last = np.where(self.stage == self.pipe.pp - 1, 1.0, 0.0)
        share = recomputed / np.maximum(count, 1.0)
        return stage_seconds(self.setting, self.layers, self.pipe, dense, moe, last, share, beside)

    def beside(self, recomputed: Column) -> NDArray[np.bool_]:
        """Where experts exchange tokens beside another micro-batch, with so many recomputed layers on any stage."""
        overlap = self.physics.overlap
        if overlap is None:
            return np.zeros(self.shard.tp.shape, dtype=bool)
        allowed = layout_allows(overlap, self.physics.architecture, self.shard, self.pipe, recomputed)
        return np.asarray(allowed & meets_another(overlap, self.pipe, self.replicas.micro_batches))

    def memory(self, count: Column) -> Callable[[Column], Column]:
        """Bytes that a rank of stages with so many layers must have, as a function of the share that is recomputed."""
        dense, moe = self.kinds(count)

        def held(share: Column) -> Column:
            parts: StageBytes = loaded_stage_bytes(self.setting, self.layers, self.pipe, self.stage, dense, moe, share)
            return self.physics.needed(parts, self.shard, self.pipe, self.replicas)

        return held
