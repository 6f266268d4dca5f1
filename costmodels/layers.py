"""Layer-level results of a table of shards, from which stages are added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.activations import (
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
    expert_adapter_params,
    layer_adapter_params,
    moe_adapter_activations,
    moe_adapter_params,
)
from costmodels.columns import Column, Columns
from costmodels.layer import dense_layer, head, moe_layer, moe_layers
from costmodels.layer_seconds import PassSeconds
from costmodels.layout import Shard, routed_tokens, tokens_per_rank
from costmodels.setting import Setting
from costmodels.states import attention_rank_params, dense_mlp_rank_params, expert_rank_params, shared_rank_params


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
