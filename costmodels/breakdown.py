"""Where the slowest stage's time goes: the same layer seconds that stages are built from, by cause."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.layer import dense_layer, head, moe_layers
from costmodels.layer_seconds import LayerSeconds
from costmodels.layers import layers_of
from costmodels.layout import Pipe
from costmodels.partition import peak_stages, stage_layers
from costmodels.recomputation import recomputed_share
from costmodels.setting import Setting
from costmodels.stage_seconds import overlaps, stage_seconds, with_prediction_layers


def slowest_stage(x: Setting, pipe: Pipe, beside: NDArray[np.bool_] | None = None) -> tuple[Column, Column, Column]:
    """Dense layers, MoE layers and heads (0 or 1) of the slowest stage (``beside`` as in the breakdown)."""
    layers = layers_of(x)
    best = dense_best = moe_best = head_best = np.zeros(())
    for stage in peak_stages(x.architecture, pipe):
        dense, moe = stage_layers(x.architecture, pipe, stage)
        last = np.where(stage == pipe.pp - 1, 1.0, 0.0)
        total = stage_seconds(x, layers, pipe, dense, moe, last, beside=beside).total
        slower = total > best
        best, dense_best = np.where(slower, total, best), np.where(slower, dense, dense_best)
        moe_best, head_best = np.where(slower, moe, moe_best), np.where(slower, last, head_best)
    return dense_best, moe_best, head_best


def micro_batch_breakdown(x: Setting, pipe: Pipe, beside: NDArray[np.bool_] | None = None) -> dict[str, Column]:
    """Seconds of one micro-batch on the slowest stage by cause; they sum to the stage's total.

    ``matmul`` are the linear layers, ``attention`` scores and context, ``elementwise`` memory-bound kernels,
    ``launch`` waiting for the host, ``tensor_comm``, ``context_comm`` and ``expert_comm`` exposed collectives,
    ``head`` output head and loss, ``recompute`` repeated forward work, ``offload`` exposed host traffic,
    ``reference`` (where there is one) the forward passes of a reference model.

    ``beside`` says whether the exchange of experts runs beside another micro-batch; by default wherever it may.
    """
    if beside is None:
        beside = overlaps(x, pipe, recomputed_share(x, pipe))
    dense, moe, heads = slowest_stage(x, pipe, beside)
    whole = stage_seconds(x, layers_of(x), pipe, dense, moe, heads, beside=beside)
    dense, moe, heads = with_prediction_layers(x.architecture, dense, moe, heads)
    reference = {}
    if x.tuning is not None and np.any(x.tuning.reference > 0):
        reference["reference"] = whole.forward * x.tuning.reference / (1.0 + x.tuning.reference)
    overlapped = x.recipe.overlaps_experts * (beside if x.overlap is not None else 1.0)
    layers: LayerSeconds = dense_layer(x).times(dense) + moe_layers(x, overlapped)[0].times(moe)
    output = head(x).passes
    return {
        "matmul": layers.matmul_f + layers.matmul_b,
        "attention": layers.core_f + layers.core_b,
        "elementwise": layers.memory_f + layers.memory_b,
        "launch": layers.launch_f + layers.launch_b,
        "tensor_comm": layers.tensor_f + layers.tensor_b,
        "context_comm": layers.context_f + layers.context_b,
        "expert_comm": layers.expert_f + layers.expert_b,
        "head": heads * (output.forward + output.backward),
        "recompute": whole.recompute,
        "offload": whole.offload,
    } | reference
