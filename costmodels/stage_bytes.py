"""What the memory of a rank of a stage is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from costmodels.activations import FP32, MASK, layer_input_bytes
from costmodels.adapters import Tuning, expanded_bytes
from costmodels.columns import Column, Columns, nothing
from costmodels.layers import Layers
from costmodels.layout import Pipe, tokens_per_rank
from costmodels.partition import stage_layers
from costmodels.recomputation import recomputed_share, stage_activations
from costmodels.setting import Setting
from costmodels.stage_params import StageParams, stage_params
from costmodels.stage_seconds import overlaps
from costmodels.states import (
    attention_rank_params,
    dense_mlp_rank_params,
    end_unit_params,
    expert_rank_params,
    prediction_layers,
    shared_rank_params,
    stage_rank_params,
)


@dataclass(frozen=True, eq=False)
class StageBytes(Columns):
    """What the memory of one stage's rank is made of, before data-parallel sharding.

    Attributes:
        stage: its index.
        dense_params, expert_params: parameters on the rank.
        unit_dense_params, unit_expert_params: of one layer (a ZeRO-3 unit).
        end_unit_params: of the embedding or the head, whichever is larger and on the stage (a ZeRO-3 unit).
        activation_bytes: saved per micro-batch in flight (on the device).
        output_bytes: sent to the next stage and kept, per micro-batch in flight.
        end_bytes: saved once: by the head of the last stage, attention masks that layers hold, and the layer that a
            forward pass fills beside a backward pass.
        working_bytes: recomputation working set and backward transients, or logits, whichever is larger.
        frozen_bytes, frozen_expert_bytes: of weights that are not trained (0 where all are).
        frozen_unit_bytes, frozen_expert_unit_bytes: of one layer of them (a ZeRO-3 unit).
    """

    stage: Column
    dense_params: Column
    expert_params: Column
    unit_dense_params: Column
    unit_expert_params: Column
    end_unit_params: Column
    activation_bytes: Column
    output_bytes: Column
    end_bytes: Column
    working_bytes: Column
    frozen_bytes: Column = field(default_factory=nothing)
    frozen_expert_bytes: Column = field(default_factory=nothing)
    frozen_unit_bytes: Column = field(default_factory=nothing)
    frozen_expert_unit_bytes: Column = field(default_factory=nothing)


def stage_bytes(x: Setting, layers: Layers, pipe: Pipe, stage: Column) -> StageBytes:
    """The memory ingredients of one stage, its layers and its recomputation as the layout says of all stages."""
    dense, moe = stage_layers(x.architecture, pipe, stage)
    return loaded_stage_bytes(x, layers, pipe, stage, dense, moe, recomputed_share(x, pipe))


def loaded_stage_bytes(
    x: Setting, layers: Layers, pipe: Pipe, stage: Column, dense: Column, moe: Column, share: Column
) -> StageBytes:
    """The memory ingredients of one stage with ``dense`` and ``moe`` layers, ``share`` of them fully recomputed."""
    a, s = x.architecture, x.shard
    dense_params, expert_params = stage_rank_params(a, s, pipe, stage, dense, moe)
    own = None if x.tuning is None else stage_params(x, pipe, stage, dense, moe)

    def regenerated(count: Column, whole: Column, kept: Column) -> Column:
        """What the backward pass of one layer computes again, beyond what the layer keeps."""
        return np.where(count > 0, whole - np.where(share > 0, layers.input_bytes, kept), 0.0)

    extra_dense, extra_moe = prediction_layers(a, pipe, stage)
    dense, moe = dense + extra_dense, moe + extra_moe
    again = np.maximum(
        regenerated(dense, layers.dense_whole_bytes, layers.dense_bytes),
        regenerated(moe, layers.moe_whole_bytes, layers.moe_bytes),
    )
    last = np.where(stage == pipe.pp - 1, 1.0, 0.0)
    saved = stage_activations(x, layers, pipe, dense, moe, share)
    # Of offloaded layers two are on the device, one in use and one on its way: beside no others, since those that
    # stay are the last ones and free their room before the offloaded ones come back.
    stays = (1.0 - s.offload_activations) * saved
    buffered = np.minimum(2.0 * saved / np.maximum(dense + moe, 1.0), saved)
    # Every multi-token prediction has a loss of its own, whose probabilities wait for the backward pass.
    predictions = extra_dense + extra_moe
    probabilities = FP32 * a.vocab / s.tp * tokens_per_rank(s, x.seq)
    sent = x.recipe.stage_outputs * (pipe.pp > 1) * pipe.vpp * layer_input_bytes(a, s, x.seq)
    scratch = layers.scratch_bytes(dense, moe)
    masks = x.recipe.layer_masks * MASK * x.seq * x.seq * (dense + moe)
    held = StageBytes(
        stage=stage,
        dense_params=dense_params,
        expert_params=expert_params,
        unit_dense_params=layers.unit_dense_params,
        unit_expert_params=layers.unit_expert_params,
        end_unit_params=end_unit_params(a, s, pipe, stage),
        activation_bytes=np.maximum(stays, buffered),
        output_bytes=sent,
        end_bytes=(last + predictions) * layers.head_saved_bytes + predictions * probabilities + masks,
        working_bytes=scratch + np.maximum(layers.transient_bytes + again, last * layers.logit_bytes),
    )
    if x.overlap is not None:
        # A forward pass beside a backward pass fills a layer before the other one has emptied a layer.
        filled = np.maximum(np.where(dense > 0, layers.dense_bytes, 0.0), np.where(moe > 0, layers.moe_bytes, 0.0))
        filled = np.where(overlaps(x, pipe, share), (1.0 - s.offload_activations) * filled, 0.0)
        held = replace(held, end_bytes=held.end_bytes + filled)
    return held if x.tuning is None or own is None else _tuned_bytes(x, held, x.tuning, own)


def _tuned_bytes(x: Setting, held: StageBytes, tuning: Tuning, own: StageParams) -> StageBytes:
    """The memory ingredients of a stage where weights are frozen or a reference model is held."""
    a, s = x.architecture, x.shard
    has_moe, has_dense = np.where(a.moe_layers > 0, 1.0, 0.0), np.where(a.dense_layers > 0, 1.0, 0.0)
    rest = np.maximum(has_dense * dense_mlp_rank_params(a, s), has_moe * shared_rank_params(a, s))
    unit = attention_rank_params(a, s) + rest
    travels = np.maximum(tuning.frozen, tuning.copied)
    density = own.dense_bytes / np.maximum(held.dense_params, 1.0)
    expert_density = own.expert_bytes / np.maximum(held.expert_params, 1.0)
    return replace(
        held,
        dense_params=own.dense_params,
        expert_params=own.expert_params,
        working_bytes=held.working_bytes + expanded_bytes(a, tuning, s),
        frozen_bytes=own.dense_bytes,
        frozen_expert_bytes=own.expert_bytes,
        frozen_unit_bytes=travels * density * unit,
        frozen_expert_unit_bytes=travels * expert_density * has_moe * expert_rank_params(a, s),
    )
