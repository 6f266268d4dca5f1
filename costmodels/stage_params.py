"""Parameters of a rank of a stage: what is trained, and the bytes of what is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodels.adapters import (
    expert_adapter_params,
    frozen_weight_bytes,
    layer_adapter_params,
    moe_adapter_params,
    quantised_params,
)
from costmodels.columns import Column, Columns, nothing
from costmodels.elementwise import HALF
from costmodels.layout import Pipe
from costmodels.setting import Setting
from costmodels.states import stage_rank_params


@dataclass(frozen=True, eq=False)
class StageParams(Columns):
    """What of the parameters of a rank of a stage is trained, and the bytes of what is not (0 where all are).

    Attributes:
        dense_params, expert_params: trained, without and in experts.
        dense_bytes, expert_bytes: of frozen weights; the copies of a reference model count among them.
    """

    dense_params: Column
    expert_params: Column
    dense_bytes: Column
    expert_bytes: Column


def stage_params(x: Setting, pipe: Pipe, stage: Column, dense: Column, moe: Column) -> StageParams:
    """The parameters of a rank of a stage with ``dense`` and ``moe`` layers."""
    dense_params, expert_params = stage_rank_params(x.architecture, x.shard, pipe, stage, dense, moe)
    if x.tuning is None:
        return StageParams(dense_params, expert_params, nothing(), nothing())
    tuning = x.tuning
    a, s, r = x.architecture, x.shard, x.recipe
    adapters = dense * layer_adapter_params(a, tuning.adapters, s.tp)
    adapters = adapters + moe * moe_adapter_params(a, tuning.adapters, s.tp)
    matrices = quantised_params(a, s, dense, moe)
    frozen, copies = tuning.frozen, tuning.copied * HALF

    def bytes_of(params: Column, quantised: Column) -> Column:
        return frozen * frozen_weight_bytes(params, quantised, tuning.quantised, r.cast_bytes) + copies * params

    return StageParams(
        dense_params=np.where(frozen > 0, adapters, dense_params),
        expert_params=np.where(frozen > 0, moe * expert_adapter_params(a, tuning.adapters, s), expert_params),
        dense_bytes=bytes_of(dense_params, matrices),
        expert_bytes=bytes_of(expert_params, expert_params),
    )
