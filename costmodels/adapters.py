"""Fine-tuning with low-rank adapters beside frozen weights: parameters, FLOPs, traffic, bytes kept.

Sources: Hu et al. 2021 (LoRA, arXiv:2106.09685, section 4) for adapters; Dettmers et al. 2023 (QLoRA,
arXiv:2305.14314, section 3) for four-bit weights with double quantisation; Rafailov et al. 2023 (DPO,
arXiv:2305.18290, equation 7) for pairs and the reference model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from costmodels.activations import (
    attention_activations,
    dense_mlp_activations,
    matmul_input,
    moe_activations,
)
from costmodels.architecture import Architecture
from costmodels.columns import Column, Columns
from costmodels.elementwise import HALF
from costmodels.flops import BACKWARD, FLASH_BACKWARD, forward_flops
from costmodels.layout import Shard, residual_tokens, routed_tokens, tokens_per_rank
from costmodels.parameters import attention_params, dense_mlp_params, expert_params, shared_expert_params
from costmodels.recipe import Recipe

NF4_BYTES = (4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0)) / 8.0
"""Bytes of a four-bit weight with double quantisation: an 8-bit constant per 64 weights, an fp32 one per 256 of those
(QLoRA, section 3: 0.127 bits of constants per parameter instead of 0.5)."""

MODULES = ("q", "k", "v", "o", "gate", "up", "down")
"""Matrices of a layer that can carry an adapter; in a mixture of experts the last three are those of every expert."""

OUTPUT_PASSES = (6.0, 4.0)
INPUT_PASSES = (1.0, 5.0)
"""Forward and backward passes over the output and the input of a matrix that its adapter makes, none of them fused.
Output: written, scaled (2), added to that of the matrix (3); backward its gradient is scaled (2) and read by both
products. Input: read; backward read, its gradient written and added to that of the matrix (3)."""


@dataclass(frozen=True, eq=False)
class Adapters(Columns):
    """Which matrices of every layer carry an adapter (1) or none (0), and of what rank.

    Attributes:
        rank: inner width of the adapters.
        q, k, v, o, gate, up, down: the matrices; ``gate`` counts only where the MLP is gated.
        joint: 1 where matrices that a framework multiplies as one (queries, keys and values; gate and up) share one
            adapter, if all of them carry one (Megatron-Bridge); 0: each has its own (peft).
    """

    rank: Column
    q: Column
    k: Column
    v: Column
    o: Column
    gate: Column
    up: Column
    down: Column
    joint: Column = field(default_factory=lambda: np.zeros(()))


@dataclass(frozen=True, eq=False)
class Tuning(Columns):
    """What of a model is trained.

    Attributes:
        frozen: 1 if the model's own weights are frozen and only adapters are trained.
        quantised: 1 if the frozen matrices of the layers are kept in four bits.
        reference: forward passes through a frozen reference model beside every training pass (1 for DPO).
        copied: 1 if the reference model has weights of its own on the device; with adapters it is the model without
            them.
        adapters: all zero where every weight is trained.
    """

    frozen: Column
    quantised: Column
    reference: Column
    copied: Column
    adapters: Adapters

    @classmethod
    def of(
        cls,
        adapters: Adapters,
        *,
        frozen: float = 1.0,
        quantised: float = 0.0,
        reference: float = 0.0,
        copied: float = 0.0,
    ) -> Tuning:
        """Adapters with single values for the rest."""
        return cls(
            frozen=np.asarray(float(frozen)),
            quantised=np.asarray(float(quantised)),
            reference=np.asarray(float(reference)),
            copied=np.asarray(float(copied)),
            adapters=adapters,
        )

    @classmethod
    def whole(cls) -> Tuning:
        """Every weight is trained, as in pre-training."""
        return cls.of(Adapters.from_values(rank=0, **dict.fromkeys(MODULES, 0)), frozen=0.0)


@dataclass(frozen=True, eq=False)
class AdapterWork(Columns):
    """What the adapters of one layer do in one pass over a micro-batch, on one rank.

    Attributes:
        adapters: how many there are (those of all experts work together and count once).
        flops: of the forward pass; the backward pass has twice as many.
        forward_bytes, backward_bytes: element-wise traffic.
        expanded_bytes: read and written when four-bit weights are expanded, in each pass.
        input_bytes: of the inputs of frozen products in half precision, whose transposed low-precision copies nobody
            needs.
    """

    adapters: Column
    flops: Column
    forward_bytes: Column
    backward_bytes: Column
    expanded_bytes: Column
    input_bytes: Column


@dataclass(frozen=True, eq=False)
class Group:
    """Matrices that read the same input.

    Attributes:
        names: of :data:`MODULES`.
        inputs: width of what they read.
        outputs: width of what each writes.
        by_rows: whether tensor parallelism splits the input (True) or the outputs.
    """

    names: tuple[str, ...]
    inputs: Column
    outputs: tuple[Column, ...]
    by_rows: bool

    def on(self, a: Architecture, adapters: Adapters) -> list[Column]:
        """1 for every matrix that exists and carries an adapter."""
        return [getattr(adapters, name) * (a.gated if name == "gate" else 1.0) for name in self.names]

    def count(self, a: Architecture, adapters: Adapters) -> Column:
        """Adapters of the group."""
        on = self.on(a, adapters)
        each: Column = sum(on, start=np.zeros(()))
        whole = np.where(each >= len(on) - ("gate" in self.names) * (1.0 - a.gated), 1.0, 0.0)
        return np.where(adapters.joint * whole > 0, np.minimum(each, 1.0), each)

    def written(self, a: Architecture, adapters: Adapters, split: Column) -> Column:
        """Elements per token that the adapters of the group write, on one of ``split`` ranks."""
        pairs = zip(self.on(a, adapters), self.outputs, strict=True)
        whole: Column = sum((on * width for on, width in pairs), start=np.zeros(()))
        return whole if self.by_rows else whole / split

    def read(self, split: Column) -> Column:
        """Elements per token of the input, on one of ``split`` ranks."""
        return self.inputs / split if self.by_rows else self.inputs

    def params(self, a: Architecture, adapters: Adapters, split: Column) -> Column:
        """Adapter parameters on one of ``split`` ranks; what stands on the side that is not split is replicated."""
        read, written = self.read(split), self.written(a, adapters, split)
        return adapters.rank * (self.count(a, adapters) * read + written)


def attention_groups(a: Architecture) -> tuple[Group, Group]:
    """The projections of a plain attention block."""
    return (
        Group(("q", "k", "v"), a.hidden, (a.q_width, a.kv_width, a.kv_width), by_rows=False),
        Group(("o",), a.o_width, (a.hidden,), by_rows=True),
    )


def mlp_groups(a: Architecture, width: Column) -> tuple[Group, Group]:
    """The matrices of an MLP of intermediate ``width``; no MLP where that is 0."""
    there = np.where(width > 0, 1.0, 0.0)
    hidden = there * a.hidden
    return (
        Group(("gate", "up"), hidden, (width, width), by_rows=False),
        Group(("down",), width, (hidden,), by_rows=True),
    )


def _sum(values: object) -> Column:
    total: Column = sum(values, start=np.zeros(()))  # type: ignore[call-overload]
    return total


def layer_adapter_params(a: Architecture, adapters: Adapters, tp: Column) -> Column:
    """Adapter parameters of one dense layer on one rank."""
    return _sum(g.params(a, adapters, tp) for g in (*attention_groups(a), *mlp_groups(a, a.ffn)))


def moe_adapter_params(a: Architecture, adapters: Adapters, tp: Column) -> Column:
    """Adapter parameters of one MoE layer on one rank, routed experts left out; the router carries none."""
    return _sum(g.params(a, adapters, tp) for g in (*attention_groups(a), *mlp_groups(a, a.shared_ffn)))


def expert_adapter_params(a: Architecture, adapters: Adapters, s: Shard) -> Column:
    """Adapter parameters of the routed experts of one MoE layer on one rank."""
    return a.experts / s.ep * _sum(g.params(a, adapters, s.etp) for g in mlp_groups(a, a.moe_ffn))


def total_adapter_params(a: Architecture, adapters: Adapters) -> Column:
    """Trainable parameters of the whole model."""
    one = np.ones(())
    experts = a.experts * _sum(g.params(a, adapters, one) for g in mlp_groups(a, a.moe_ffn))
    moe = moe_adapter_params(a, adapters, one) + experts
    return a.dense_layers * layer_adapter_params(a, adapters, one) + a.moe_layers * moe


def dense_adapters(a: Architecture, s: Shard, t: Tuning, seq: Column) -> AdapterWork:
    """What the adapters of a dense layer do."""
    tokens = tokens_per_rank(s, seq)
    matrices = (attention_params(a) + dense_mlp_params(a)) / s.tp
    groups = (*attention_groups(a), *mlp_groups(a, a.ffn))
    inputs = _block_inputs(a, s, seq) + a.ffn / s.tp * tokens
    return _work(a, t, [(tokens, s.tp, group) for group in groups], matrices, inputs)


def moe_adapters(a: Architecture, s: Shard, t: Tuning, seq: Column) -> AdapterWork:
    """What the adapters of an MoE layer do: attention, shared experts, and routed experts on the tokens they get."""
    tokens, routed = tokens_per_rank(s, seq), routed_tokens(s, a.topk, seq)
    matrices = (attention_params(a) + shared_expert_params(a)) / s.tp + a.experts / s.ep * expert_params(a) / s.etp
    parts = [(tokens, s.tp, group) for group in (*attention_groups(a), *mlp_groups(a, a.shared_ffn))]
    parts += [(routed, s.etp, group) for group in mlp_groups(a, a.moe_ffn)]
    inputs = _block_inputs(a, s, seq) + a.moe_ffn / s.etp * routed + a.shared_ffn / s.tp * tokens
    return _work(a, t, parts, matrices, inputs)


def _block_inputs(a: Architecture, s: Shard, seq: Column) -> Column:
    """Elements that the products of attention and the first of the MLP read."""
    return (a.hidden + a.o_width / s.tp) * tokens_per_rank(s, seq) + a.hidden * residual_tokens(s, seq)


def _work(
    a: Architecture, t: Tuning, parts: list[tuple[Column, Column, Group]], matrices: Column, inputs: Column
) -> AdapterWork:
    on = t.adapters

    def traffic(way: int) -> Column:
        return HALF * _sum(
            tokens
            * (
                INPUT_PASSES[way] * group.count(a, on) * group.read(split)
                + OUTPUT_PASSES[way] * group.written(a, on, split)
            )
            for tokens, split, group in parts
        )

    return AdapterWork(
        adapters=_sum(group.count(a, on) * np.where(group.inputs > 0, 1.0, 0.0) for _, _, group in parts),
        flops=2.0 * _sum(tokens * group.params(a, on, split) for tokens, split, group in parts),
        forward_bytes=traffic(0),
        backward_bytes=traffic(1),
        expanded_bytes=t.quantised * matrices * (NF4_BYTES + HALF),
        input_bytes=t.frozen * HALF * inputs,
    )


def quantised_params(a: Architecture, s: Shard, dense_layers: Column, moe_layers: Column) -> Column:
    """Matrices of layers on one rank that four-bit quantisation reaches, routed experts left out.

    Embedding, head, norms and routers stay as they are (bitsandbytes quantises linear layers and leaves out the head).
    """
    layers = dense_layers + moe_layers
    mlp = dense_layers * dense_mlp_params(a) + moe_layers * shared_expert_params(a)
    return (layers * attention_params(a) + mlp) / s.tp


def frozen_weight_bytes(params: Column, matrices: Column, quantised: Column, cast_bytes: Column) -> Column:
    """Bytes of ``params`` frozen parameters, ``matrices`` of them in matrices that may be four-bit.

    Half precision with the low-precision copies of the recipe (``cast_bytes``), or four bits for the matrices.
    """
    four = HALF * (params - matrices) + NF4_BYTES * matrices
    return np.where(quantised > 0, four, (HALF + cast_bytes) * params)


def dense_adapter_activations(a: Architecture, t: Tuning, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one dense layer.

    A frozen matrix needs its input for nothing: it is kept only for an adapter beside it. What norms, attention and
    the gated activation need for the gradients of their inputs stays. Each adapter keeps its inner result.
    """
    whole = attention_activations(a, s, r, seq) + dense_mlp_activations(a, s, r, seq)
    tokens = tokens_per_rank(s, seq)
    unused = _unused_inputs(a, t, s, r, seq, mlp_groups(a, a.ffn)[0])
    activated = _unused(a, t, mlp_groups(a, a.ffn)[1]) * r.saved_bytes * a.ffn / s.tp * tokens
    return whole - unused - activated + _inner(a, t, attention_groups(a) + mlp_groups(a, a.ffn), tokens)


def moe_adapter_activations(a: Architecture, t: Tuning, s: Shard, r: Recipe, seq: Column) -> Column:
    """Saved bytes of one MoE layer, as :func:`dense_adapter_activations`; the probabilities of the router stay."""
    whole = attention_activations(a, s, r, seq) + moe_activations(a, s, r, seq)
    tokens, routed = tokens_per_rank(s, seq), routed_tokens(s, a.topk, seq)
    shared, expert = mlp_groups(a, a.shared_ffn), mlp_groups(a, a.moe_ffn)
    unused = _unused_inputs(a, t, s, r, seq, shared[0]) + _unused(a, t, expert[0]) * r.saved_bytes * a.hidden * routed
    widths = a.shared_ffn / s.tp * tokens + a.moe_ffn / s.etp * routed
    activated = _unused(a, t, expert[1]) * r.saved_bytes * widths
    inner = _inner(a, t, attention_groups(a) + shared, tokens) + _inner(a, t, expert, routed)
    return whole - unused - activated + inner


def _unused(a: Architecture, t: Tuning, group: Group) -> Column:
    """1 where the weights are frozen and no matrix of the group carries an adapter, or the group does not exist."""
    carries = np.where(group.inputs > 0, np.minimum(group.count(a, t.adapters), 1.0), 0.0)
    return t.frozen * (1.0 - carries)


def _unused_inputs(a: Architecture, t: Tuning, s: Shard, r: Recipe, seq: Column, up: Group) -> Column:
    """Bytes of block inputs that are kept for nothing: of attention, and of the MLP unless they are the same."""
    serial = np.where(a.parallel_block > 0, 0.0, 1.0)
    attention = _unused(a, t, attention_groups(a)[0])
    mlp = _unused(a, t, up)
    return np.where(serial > 0, attention + mlp, attention * mlp) * matmul_input(a, s, r, seq)


def _inner(a: Architecture, t: Tuning, groups: tuple[Group, ...], tokens: Column) -> Column:
    """Bytes of the inner results of adapters."""
    there = (group.count(a, t.adapters) * np.where(group.inputs > 0, 1.0, 0.0) for group in groups)
    return HALF * t.adapters.rank * tokens * _sum(there)


def expanded_bytes(a: Architecture, t: Tuning, s: Shard) -> Column:
    """The largest matrix of a layer in half precision: four-bit weights are expanded one matrix at a time."""
    width = np.maximum(a.ffn, a.shared_ffn)
    largest = np.maximum(a.hidden * np.maximum(width, a.q_width) / s.tp, a.hidden * a.moe_ffn / s.etp)
    return t.quantised * HALF * largest


def tuning_flops_per_token(a: Architecture, t: Tuning, seq: Column, *, causal: bool) -> Column:
    """FLOPs per token of a training step: no weight gradients for frozen weights, full ones for adapters.

    Per weight, 2 forward and 2 for the gradient of the input, 2 for its own where it is trained; 6 per adapter weight;
    attention forward and backward; and the forward passes of the reference model. The input of the first layer needs
    no gradient where its embedding is frozen, which is neglected.

    Args:
        a: architecture.
        t: what is trained.
        seq: tokens over which attention reaches.
        causal: False for the published model-FLOPs convention (full square, twice backward), True for what fused
            causal attention executes.
    """
    forward = forward_flops(a, seq, causal=causal)
    core = forward["attention_core"]
    core_backward = FLASH_BACKWARD if causal else BACKWARD
    linear = _sum(value for name, value in forward.items() if name != "attention_core")
    visited = a.dense_layers * layer_adapter_params(a, t.adapters, np.ones(()))
    visited = visited + a.moe_layers * (
        moe_adapter_params(a, t.adapters, np.ones(()))
        + a.topk * _sum(g.params(a, t.adapters, np.ones(())) for g in mlp_groups(a, a.moe_ffn))
    )
    trained = (3.0 - t.frozen) * linear + (1.0 + core_backward) * core + 6.0 * visited
    return trained + t.reference * (linear + core)


Work = Callable[[Architecture, Shard, Tuning, Column], AdapterWork]
"""What the adapters of one kind of layer do."""
