"""Stages: what the layers of a pipeline stage cost together, and which stage is the slowest and the fullest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from costmodels.activations import (
    FP32,
    MASK,
    attention_activations,
    backward_bytes,
    dense_mlp_activations,
    head_activations,
    layer_input_bytes,
    matmul_input,
    moe_activations,
    operator_attention_activations,
    operator_mlp_activations,
    operator_moe_activations,
)
from costmodels.adapters import (
    Tuning,
    dense_adapter_activations,
    expanded_bytes,
    expert_adapter_params,
    frozen_weight_bytes,
    layer_adapter_params,
    moe_adapter_activations,
    moe_adapter_params,
    quantised_params,
)
from costmodels.architecture import Architecture
from costmodels.columns import Column, Columns
from costmodels.elementwise import HALF
from costmodels.layer import PassSeconds, Setting, dense_layer, head, moe_layer, moe_layers
from costmodels.layout import Pipe, Shard, routed_tokens, tokens_per_rank
from costmodels.overlap import layout_allows
from costmodels.partition import chunk_layers, peak_loads, stage_layers
from costmodels.states import (
    attention_rank_params,
    dense_mlp_rank_params,
    end_unit_params,
    expert_rank_params,
    prediction_layers,
    shared_rank_params,
    stage_rank_params,
)

OPERATOR_SHARE = 0.5
"""Share of a layer's forward pass that operator-level selective recomputation repeats: every second matrix product."""


def _none() -> Column:
    """Nothing: of models all of whose weights are trained."""
    return np.zeros(())


@dataclass(frozen=True, eq=False)
class Layers(Columns):
    """Layer-level results for the shards of a table: the level below stages, computed once per shard.

    Attributes:
        dense, moe, head: seconds of the passes.
        dense_bytes, moe_bytes: saved activations of one layer that is not fully recomputed.
        dense_whole_bytes, moe_whole_bytes: all activations of one layer, as they are when it is recomputed.
        input_bytes: saved by a fully recomputed layer.
        transient_bytes: of a backward pass through the wider kind of layer.
        dense_scratch_bytes, moe_scratch_bytes: weight gradients of one layer of each kind, but of its routed experts,
            before they are added to the stored ones.
        head_saved_bytes, logit_bytes: around the head.
        unit_dense_params, unit_expert_params: parameters of the larger kind of layer on one rank (a ZeRO-3 unit).
        moe_alone: as ``moe``, with no other micro-batch beside (None: no different).
        moe_again: forward seconds of an MoE layer when it is recomputed (None: those of ``moe``).
    """

    dense: PassSeconds
    moe: PassSeconds
    head: PassSeconds
    dense_bytes: Column
    moe_bytes: Column
    dense_whole_bytes: Column
    moe_whole_bytes: Column
    input_bytes: Column
    transient_bytes: Column
    dense_scratch_bytes: Column
    moe_scratch_bytes: Column
    head_saved_bytes: Column
    logit_bytes: Column
    unit_dense_params: Column
    unit_expert_params: Column
    moe_alone: PassSeconds | None = None
    moe_again: Column | None = None

    def settled(self, beside: NDArray[np.bool_]) -> Layers:
        """The layers of layouts whose experts' exchange runs beside another micro-batch, or (where 0) waits.

        A pass that is repeated has no other one beside it.
        """
        alone = self.moe_alone
        if alone is None:
            return self
        moe = replace(
            self.moe,
            forward=np.where(beside, self.moe.forward, alone.forward),
            backward=np.where(beside, self.moe.backward, alone.backward),
        )
        return replace(self, moe=moe, moe_alone=None, moe_again=alone.forward)

    def scratch_bytes(self, dense: Column, moe: Column) -> Column:
        """Weight gradients of one layer of a stage with so many of each kind, the larger kind of those it has."""
        return np.maximum(
            np.where(dense > 0, self.dense_scratch_bytes, 0.0), np.where(moe > 0, self.moe_scratch_bytes, 0.0)
        )


def layers_of(x: Setting) -> Layers:
    """Layer-level results for every shard of a setting."""
    a, s, r = x.architecture, x.shard, x.recipe
    whole = replace(s, selective=np.zeros_like(s.selective))
    by_operator = (s.selective > 0) & (r.operator_recompute > 0)
    attention, kept = attention_activations(a, s, r, x.seq), operator_attention_activations(a, s, r, x.seq)
    all_attention = attention_activations(a, whole, r, x.seq)
    dense_mlp, moe_block = dense_mlp_activations(a, s, r, x.seq), moe_activations(a, s, r, x.seq)
    saved, logits = head_activations(a, s, r, x.seq)
    has_moe, has_dense = np.where(a.moe_layers > 0, 1.0, 0.0), np.where(a.dense_layers > 0, 1.0, 0.0)
    expert_width = a.moe_ffn / s.etp * routed_tokens(s, a.topk, x.seq) / tokens_per_rank(s, x.seq)
    width = np.maximum(has_dense * a.ffn / s.tp, has_moe * (expert_width + a.shared_ffn / s.tp))
    own = attention_rank_params(a, s)
    dense_unit, moe_unit = own + dense_mlp_rank_params(a, s), own + shared_rank_params(a, s)
    unit = np.maximum(has_dense * dense_unit, has_moe * moe_unit)
    alone = None
    if x.overlap is None:
        moe = moe_layer(x).passes
    else:
        moe, alone = (one.passes for one in moe_layers(x, r.overlaps_experts, np.zeros(())))
    layers = Layers(
        dense=dense_layer(x).passes,
        moe=moe,
        head=head(x).passes,
        dense_bytes=np.where(by_operator, kept + operator_mlp_activations(a, s, r, x.seq), attention + dense_mlp),
        moe_bytes=np.where(by_operator, kept + operator_moe_activations(a, s, r, x.seq), attention + moe_block),
        dense_whole_bytes=all_attention + dense_mlp,
        moe_whole_bytes=all_attention + moe_block,
        input_bytes=layer_input_bytes(a, s, x.seq),
        transient_bytes=backward_bytes(a, s, x.seq, width),
        head_saved_bytes=saved,
        logit_bytes=logits,
        dense_scratch_bytes=r.scratch_gradient_bytes * dense_unit,
        moe_scratch_bytes=r.scratch_gradient_bytes * moe_unit,
        unit_dense_params=unit,
        unit_expert_params=has_moe * expert_rank_params(a, s),
        moe_alone=alone,
    )
    return layers if x.tuning is None else _tuned_layers(x, layers, x.tuning)


def _tuned_layers(x: Setting, layers: Layers, tuning: Tuning) -> Layers:
    """The layers where weights are frozen: what they save, and the gradients and units of adapters alone."""
    a, s, r = x.architecture, x.shard, x.recipe
    whole = replace(s, selective=np.zeros_like(s.selective))
    frozen = tuning.frozen > 0
    by_operator = (s.selective > 0) & (r.operator_recompute > 0)
    has_moe, has_dense = np.where(a.moe_layers > 0, 1.0, 0.0), np.where(a.dense_layers > 0, 1.0, 0.0)
    dense = has_dense * layer_adapter_params(a, tuning.adapters, s.tp)
    unit = np.maximum(dense, has_moe * moe_adapter_params(a, tuning.adapters, s.tp))
    experts = has_moe * expert_adapter_params(a, tuning.adapters, s)
    saved, logits = head_activations(a, s, replace(r, scratch_gradient_bytes=np.zeros(())), x.seq)
    head_input = matmul_input(a, s, r, x.seq)

    def kept(shard: Shard, adapted: Callable[..., Column], plain: Column, *, operators: bool) -> Column:
        bytes_ = adapted(a, tuning, shard, r, x.seq)
        return np.where(frozen & ~(by_operator & operators), bytes_, plain)

    return replace(
        layers,
        dense_bytes=kept(s, dense_adapter_activations, layers.dense_bytes, operators=True),
        moe_bytes=kept(s, moe_adapter_activations, layers.moe_bytes, operators=True),
        dense_whole_bytes=kept(whole, dense_adapter_activations, layers.dense_whole_bytes, operators=False),
        moe_whole_bytes=kept(whole, moe_adapter_activations, layers.moe_whole_bytes, operators=False),
        head_saved_bytes=np.where(frozen, saved - head_input, layers.head_saved_bytes),
        logit_bytes=np.where(frozen, logits, layers.logit_bytes),
        dense_scratch_bytes=np.where(frozen, r.scratch_gradient_bytes * unit, layers.dense_scratch_bytes),
        moe_scratch_bytes=np.where(frozen, r.scratch_gradient_bytes * unit, layers.moe_scratch_bytes),
        unit_dense_params=np.where(frozen, unit, layers.unit_dense_params),
        unit_expert_params=np.where(frozen, experts, layers.unit_expert_params),
    )


def overlaps(x: Setting, pipe: Pipe, share: Column) -> NDArray[np.bool_]:
    """Where layouts let the exchange of experts run beside another micro-batch, if a step has one."""
    if x.overlap is None:
        return np.zeros((), dtype=bool)
    return layout_allows(x.overlap, x.architecture, x.shard, pipe, share)


def recomputed_share(x: Setting, pipe: Pipe) -> Column:
    """Share of a stage's layers that is fully recomputed: the leading ``recompute_layers`` of a full stage."""
    full = chunk_layers(x.architecture, pipe) * pipe.vpp
    return np.minimum(x.shard.recompute_layers, full) / full


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


def stage_activations(
    x: Setting, layers: Layers, pipe: Pipe, dense: Column, moe: Column, share: Column | None = None
) -> Column:
    """Bytes saved by one micro-batch in a stage's layers after recomputation of a share of them."""
    share = recomputed_share(x, pipe) if share is None else share
    kept = dense * layers.dense_bytes + moe * layers.moe_bytes
    return (1.0 - share) * kept + share * (dense + moe) * layers.input_bytes


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
    frozen_bytes: Column = field(default_factory=_none)
    frozen_expert_bytes: Column = field(default_factory=_none)
    frozen_unit_bytes: Column = field(default_factory=_none)
    frozen_expert_unit_bytes: Column = field(default_factory=_none)


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
        return StageParams(dense_params, expert_params, _none(), _none())
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
    frozen_bytes: Column = field(default_factory=_none)
    frozen_expert_bytes: Column = field(default_factory=_none)
    beside: Beside | None = None


def stage_costs(x: Setting, layers: Layers, pipe: Pipe) -> StageCosts:
    """The slowest stage, the sum of the stages and the largest parameter shards."""
    loads = peak_loads(x.architecture, pipe)
    return replace(busy_stage_costs(x, layers, pipe, loads), beside=waiting_stages(x, layers, pipe, loads))


Loads = Sequence[tuple[Column, Column, Column]]
"""Stages with their dense and MoE layers (:func:`costmodels.partition.peak_loads`)."""


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
