"""Seconds of one micro-batch on one pipeline stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Architecture
from costmodels.columns import Column, Columns
from costmodels.layers import Layers
from costmodels.layout import Pipe
from costmodels.overlap import layout_allows
from costmodels.recomputation import OPERATOR_SHARE, recomputed_share, stage_activations
from costmodels.setting import Setting


@dataclass(frozen=True, eq=False)
class StageSeconds(Columns):
    """Seconds of one micro-batch on one stage.

    Attributes:
        forward, backward: without recomputation.
        recompute: full and selective.
        offload: exposed host traffic of activations.
        weight_gradient: the part of ``backward`` that zero-bubble schedules move.
    """

    forward: Column
    backward: Column
    recompute: Column
    offload: Column
    weight_gradient: Column

    @property
    def total(self) -> Column:
        """All seconds of the micro-batch on the stage."""
        return self.forward + self.backward + self.recompute + self.offload


def stage_seconds(
    x: Setting,
    layers: Layers,
    pipe: Pipe,
    dense: Column,
    moe: Column,
    has_head: Column,
    share: Column | None = None,
    beside: NDArray[np.bool_] | None = None,
) -> StageSeconds:
    """Seconds of one micro-batch through ``dense`` and ``moe`` layers, and the head where ``has_head`` is 1.

    ``share`` is the part of these layers that is fully recomputed; by default what the layout says of all stages.
    ``beside`` says where the exchange of experts runs beside another micro-batch; by default wherever it may.
    """
    share = recomputed_share(x, pipe) if share is None else share
    if layers.moe_alone is not None:
        layers = layers.settled(overlaps(x, pipe, share) if beside is None else beside)
    dense, moe, has_head = with_prediction_layers(x.architecture, dense, moe, has_head)
    forward = dense * layers.dense.forward + moe * layers.moe.forward
    backward = dense * layers.dense.backward + moe * layers.moe.backward
    selective = dense * layers.dense.selective + moe * layers.moe.selective
    by_operator = x.shard.selective * x.recipe.operator_recompute
    selective = np.where(by_operator > 0, OPERATOR_SHARE * forward, selective)
    again = forward if layers.moe_again is None else dense * layers.dense.forward + moe * layers.moe_again
    recompute = share * again + (1.0 - share) * selective
    forward = forward + has_head * layers.head.forward
    if x.tuning is not None:  # a reference model runs forward beside it and keeps nothing
        forward = forward * (1.0 + x.tuning.reference)
    backward = backward + has_head * layers.head.backward
    host = np.maximum(x.device.host_link_bytes_per_s, 1.0)
    traffic = x.shard.offload_activations * 2.0 * stage_activations(x, layers, pipe, dense, moe, share) / host
    weight_gradient = (
        dense * layers.dense.weight_gradient + moe * layers.moe.weight_gradient + has_head * layers.head.weight_gradient
    )
    return StageSeconds(
        forward=forward,
        backward=backward,
        recompute=recompute,
        offload=np.maximum(traffic - forward - backward - recompute, 0.0),
        weight_gradient=weight_gradient,
    )


def with_prediction_layers(
    a: Architecture, dense: Column, moe: Column, has_head: Column
) -> tuple[Column, Column, Column]:
    """Dense layers, MoE layers and passes through the head, multi-token prediction included.

    It adds layers of the last kind behind the stack, on the stage of the head, each with a pass through the head.
    """
    extra = has_head * a.mtp_layers
    with_experts = a.moe_layers > 0
    return dense + np.where(with_experts, 0.0, extra), moe + np.where(with_experts, extra, 0.0), has_head + extra


def overlaps(x: Setting, pipe: Pipe, share: Column) -> NDArray[np.bool_]:
    """Where layouts let the exchange of experts run beside another micro-batch, if a step has one."""
    if x.overlap is None:
        return np.zeros((), dtype=bool)
    return layout_allows(x.overlap, x.architecture, x.shard, pipe, share)
