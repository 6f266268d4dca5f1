"""Seconds of one transformer layer on one rank for one micro-batch: matmuls, attention, memory traffic, collectives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from costmodels.adapters import Tuning, Work, dense_adapters, moe_adapters
from costmodels.architecture import Architecture
from costmodels.collectives import (
    all_reduce_seconds,
    all_to_all_seconds,
    gather_seconds,
    group_bandwidth,
    merged_share,
    ring_latency_s,
)
from costmodels.columns import Column, Columns
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.elementwise import (
    HALF,
    attention_bytes,
    dense_mlp_bytes,
    head_bytes,
    moe_bytes,
    score_bytes,
    unfused_softmax,
)
from costmodels.flops import FLASH_BACKWARD, attention_core_flops
from costmodels.layout import Shard, residual_tokens, routed_tokens, tokens_per_rank
from costmodels.matmul import alignment, linear_seconds
from costmodels.overlap import Overlap
from costmodels.recipe import Recipe

HEAD_DIM_OVERHEAD = 32.0
"""Head width at which fused attention spends half its time outside the matrix units (softmax, scaling); 128 is par."""

FIRST_FLASH_WIDTH = 64.0
"""Widest heads of which kernels of the first generation of fused attention hold a whole tile on the chip."""

FIRST_FLASH_WIDE_RATE = 0.8
"""Their rate on wider heads, over that on narrow ones (FlashAttention 1 and its Triton version on A100 and H100)."""

BACKWARD_LAUNCHES = 1.0
"""Host seconds of the backward pass of a layer over those of the forward pass: it launches half as many kernels again,
from autograd's own threads instead of Python."""

FROZEN_LAUNCHES = 0.7
"""The same where weights are frozen: the products and transposes of weight gradients are not launched."""

TRANSPOSED = 0.5
"""Passes over the input (forward) or the output gradient (backward) of a low-precision product that writing its
transposed copy takes; it serves weight gradients alone."""

MOE_LAUNCHES = 2.0
"""Kernels of an MoE layer (router, permutation, grouped products) over those of a dense layer."""

EXPERT_BIAS_LAUNCHES = 0.15
"""Kernels that add the output bias of one local expert and its gradient (multiply and add; two products, two sums, two
casts) over those of a dense layer (about twenty)."""

SOFTMAX_LAUNCHES = 0.4
"""Kernels of a masked softmax that is not one kernel (cast, scale, mask, softmax, cast), and of the masks made for it,
over those of a dense layer."""

ADAPTER_LAUNCHES = 0.2
"""Kernels of one adapter (two products, a scaling, an addition) over those of a dense layer (about twenty)."""

VOCABULARY_MULTIPLE = 128.0
"""Megatron-LM's make-vocab-size-divisible-by."""

FLOOR_SHARPNESS = 5.0
"""How sharply launch and device time take over from each other. Kernels of a layer differ in length, so near the
crossing the host holds up some and the device others: (launch**p + device**p)**(1/p), which is max(launch, device) for
large p."""

COLLECTIVES_PER_PASS = 2.0
"""Tensor-parallel all-reduces of a layer in one pass: after attention and after the MLP."""

RING_BACKWARD = 2.0
"""Key/value ring traffic of the backward pass over the forward pass: keys and values, and their gradients."""


@dataclass(frozen=True, eq=False)
class LayerSeconds(Columns):
    """Seconds by cause, forward (f) and backward (b), of one layer, block or head on one rank and micro-batch.

    Attributes:
        matmul_f, matmul_b: linear layers; ``matmul_b`` holds input and weight gradients.
        weight_gradient: the part of ``matmul_b`` that zero-bubble schedules may postpone.
        core_f, core_b: attention scores and context.
        memory_f, memory_b: element-wise kernels.
        launch_f, launch_b: waiting for the host to launch kernels, beyond the device time.
        tensor_f, tensor_b: exposed tensor-parallel collectives.
        context_f, context_b: exposed context-parallel exchange.
        expert_f, expert_b: exposed expert-parallel exchange.
        selective: what recomputing the attention core costs.
    """

    matmul_f: Column
    matmul_b: Column
    weight_gradient: Column
    core_f: Column
    core_b: Column
    memory_f: Column
    memory_b: Column
    launch_f: Column
    launch_b: Column
    tensor_f: Column
    tensor_b: Column
    context_f: Column
    context_b: Column
    expert_f: Column
    expert_b: Column
    selective: Column

    def __add__(self, other: LayerSeconds) -> LayerSeconds:
        return LayerSeconds(**{name: getattr(self, name) + getattr(other, name) for name in self.names()})

    def times(self, count: Column) -> LayerSeconds:
        """The seconds of ``count`` such layers."""
        return self.map(lambda column: column * count)

    @property
    def passes(self) -> PassSeconds:
        """The sums that stages are built from."""
        return PassSeconds(
            forward=(
                self.matmul_f
                + self.core_f
                + self.memory_f
                + self.launch_f
                + self.tensor_f
                + self.context_f
                + self.expert_f
            ),
            backward=(
                self.matmul_b
                + self.core_b
                + self.memory_b
                + self.launch_b
                + self.tensor_b
                + self.context_b
                + self.expert_b
            ),
            weight_gradient=self.weight_gradient,
            selective=self.selective,
        )


@dataclass(frozen=True, eq=False)
class PassSeconds(Columns):
    """Seconds of the passes through one layer (or head) on one rank and micro-batch.

    Attributes:
        forward: the forward pass.
        backward: the backward pass, recomputation left out.
        weight_gradient: the part of ``backward`` that zero-bubble schedules may postpone.
        selective: what recomputing the attention core costs.
    """

    forward: Column
    backward: Column
    weight_gradient: Column
    selective: Column


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything a layer's seconds depend on besides its kind: one bundle instead of eight arguments.

    Attributes:
        architecture, shard, recipe, device, efficiency: columns.
        seq: tokens of a sequence.
        span: tokens over which attention reaches, those of an example where several are packed into a sequence
            (None: the whole sequence).
        tuning: what of the model is trained (None: all of it).
        overlap: what the overlap of experts needs of a layout (None: nothing, the recipe says whether it runs).
    """

    architecture: Architecture
    shard: Shard
    recipe: Recipe
    device: Device
    efficiency: Efficiency
    seq: Column
    span: Column | None = None
    tuning: Tuning | None = None
    overlap: Overlap | None = None

    @property
    def reach(self) -> Column:
        """Tokens over which attention reaches."""
        return self.seq if self.span is None else np.minimum(self.span, self.seq)


def dense_layer(x: Setting) -> LayerSeconds:
    """Seconds of a layer with a dense MLP (0 where no model has one)."""
    if not np.any(x.architecture.dense_layers):
        return _nothing()
    return _floored(x, _attention_block(x) + _dense_mlp_block(x), np.ones(()), dense_adapters)


def moe_layer(x: Setting) -> LayerSeconds:
    """Seconds of a layer with routed experts (0 where no model has them)."""
    return moe_layers(x, x.recipe.overlaps_experts)[0]


def moe_layers(x: Setting, *overlaps: Column) -> tuple[LayerSeconds, ...]:
    """The same where the exchange of experts runs beside another micro-batch (1) and where it waits (0)."""
    if not np.any(x.architecture.moe_layers):
        return (_nothing(),) * len(overlaps)
    biases = EXPERT_BIAS_LAUNCHES * x.architecture.expert_bias * _local_experts(x)
    block, exchange = _attention_block(x) + _moe_block(x), _expert_exchange(x)

    def layer(overlapped: Column) -> LayerSeconds:
        exposed = (1.0 - overlapped * x.efficiency.expert_overlap) * exchange
        return _floored(x, block + _nothing(expert_f=exposed, expert_b=exposed), MOE_LAUNCHES + biases, moe_adapters)

    return tuple(layer(overlapped) for overlapped in overlaps)


def head(x: Setting) -> LayerSeconds:
    """Seconds of the output head and the loss, vocabulary split over tp, in half precision."""
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    linears = [(tokens, a.hidden, vocabulary_shard(a, s), one, one)]
    memory = head_bytes(a, s, x.recipe, x.seq)
    half = np.full(np.shape(x.recipe.operand_bytes), HALF)
    rate = x.device.attention_flops_per_s
    block = _block(x, linears, memory, rate=rate, operand_bytes=half, tensor_collectives=one)
    return block if x.tuning is None else _frozen(block, x.tuning.frozen)


def vocabulary_shard(a: Architecture, s: Shard) -> Column:
    """Rows of the output head on one rank; frameworks pad them to :data:`VOCABULARY_MULTIPLE` where they split them."""
    return np.where(s.tp > 1, np.ceil(a.vocab / s.tp / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE, a.vocab)


def _attention_block(x: Setting) -> LayerSeconds:
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    kv_local = a.head_dim * np.maximum(a.kv_heads / s.tp, 1.0)
    has_q_lora = np.where(a.q_lora > 0, 1.0, 0.0)
    plain = 1.0 - a.is_mla
    linears = [
        # Queries, keys and values in one product; a zero width drops a product.
        (tokens, a.hidden, plain * (a.q_width / s.tp + 2.0 * kv_local), one, one),
        (tokens, a.hidden, a.is_mla * (a.q_lora + a.kv_lora + a.rope_head_dim), one, one),
        (tokens, np.where(has_q_lora > 0, a.q_lora, a.hidden), a.is_mla * a.q_width / s.tp, one, one),
        (tokens, a.kv_lora, a.is_mla * a.heads * (a.nope_head_dim + a.v_head_dim) / s.tp, one, one),
        (tokens, a.o_width / s.tp, a.hidden, one, one),
    ]
    block = _block(
        x,
        linears,
        attention_bytes(a, s, x.recipe, x.seq),
        rate=x.device.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=one,
    )
    return block + _attention_core(x)


def _attention_core(x: Setting) -> LayerSeconds:
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    flash = x.recipe.flash > 0
    sequences = s.micro_batch / (s.tp * s.cp)
    skipping = x.seq / x.reach * attention_core_flops(a, x.reach, causal=True)
    square = attention_core_flops(a, x.seq, causal=False)
    width = a.q_width / a.heads
    shape = (width / (width + HEAD_DIM_OVERHEAD)) / (128.0 / (128.0 + HEAD_DIM_OVERHEAD))
    first = np.where(width > FIRST_FLASH_WIDTH, 1.0, 1.0 / FIRST_FLASH_WIDE_RATE)
    fused_shape = np.where(x.recipe.first_flash > 0, first, shape)
    fused = sequences * skipping / (d.attention_flops_per_s * e.attention_efficiency * fused_shape)
    aligned = alignment(width)
    plain = sequences * square / (d.attention_flops_per_s * e.gemm_efficiency * np.minimum(shape, 1.0) * aligned)
    forward = np.where(flash, fused, plain)
    backward = forward * np.where(flash, FLASH_BACKWARD, 2.0)
    scores = score_bytes(a, s, x.recipe, x.seq) / (d.memory_bandwidth_bytes_per_s * e.memory_efficiency)

    kv_bytes = HALF * np.where(a.is_mla > 0, a.q_width + a.o_width, 2.0 * a.kv_width) / s.tp * tokens_per_rank(s, x.seq)
    bandwidth = group_bandwidth(s.cp, s.tp, d, e.scale_up_efficiency, e.scale_out_efficiency)
    ring = np.where(s.cp > 1, (s.cp - 1) * kv_bytes / bandwidth + ring_latency_s(s.cp, s.tp, d) + e.collective_s, 0.0)
    return _nothing(
        core_f=forward,
        core_b=backward,
        context_f=ring - np.minimum(e.tensor_overlap * ring, forward),
        context_b=RING_BACKWARD * ring - np.minimum(e.tensor_overlap * RING_BACKWARD * ring, backward),
        selective=s.selective * (forward + scores),
    )


def _dense_mlp_block(x: Setting) -> LayerSeconds:
    a, s = x.architecture, x.shard
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    linears = [
        (tokens, a.hidden, (1.0 + a.gated) * a.ffn / s.tp, one, one),
        (tokens, a.ffn / s.tp, a.hidden, one, one),
    ]
    return _block(
        x,
        linears,
        dense_mlp_bytes(a, s, x.recipe, x.seq),
        rate=x.device.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=np.where(a.parallel_block > 0, 0.0, one),
    )


def _local_experts(x: Setting) -> Column:
    """Experts on one rank."""
    return np.maximum(x.architecture.experts / x.shard.ep, 1.0)


def _moe_block(x: Setting) -> LayerSeconds:
    """Router and experts, their exchange left out."""
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    tokens = tokens_per_rank(s, x.seq)
    one = np.ones(())
    local = _local_experts(x)
    routed = routed_tokens(s, a.topk, x.seq)
    per_expert = routed / local
    wide = 1.0 + a.gated
    linears = [
        (residual_tokens(s, x.seq), a.hidden, a.experts, one, one),
        (per_expert, a.hidden, wide * a.moe_ffn / s.etp, local, e.expert_efficiency),
        (per_expert, a.moe_ffn / s.etp, a.hidden, local, e.expert_efficiency),
        (tokens, a.hidden, wide * a.shared_ffn / s.tp, one, one),
        (tokens, a.shared_ffn / s.tp, a.hidden, one, one),
    ]
    return _block(
        x,
        linears,
        moe_bytes(a, s, x.recipe, x.seq, e.routing_passes),
        rate=d.peak_flops_per_s,
        operand_bytes=x.recipe.operand_bytes,
        tensor_collectives=np.where(a.shared_ffn > 0, one, 0.0),
    )


def _expert_exchange(x: Setting) -> Column:
    """Seconds of one pass in which tokens go to their experts and back, nothing hidden."""
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    routed, one = routed_tokens(s, a.topk, x.seq), np.ones(())
    up, out = e.scale_up_efficiency, e.scale_out_efficiency
    sent = HALF * a.hidden * routed / s.etp
    leaving = np.where(x.recipe.merges_copies > 0, merged_share(a.topk, s.ep, s.etp, d), 1.0)
    meeting = np.where(s.ep > 1, e.collective_s, 0.0)
    exchange = 2.0 * (all_to_all_seconds(sent, s.ep, s.etp, d, up, out, leaving) + meeting)
    gathered = HALF * a.hidden * routed
    bandwidth = group_bandwidth(s.etp, one, d, up, out)
    gathering = 2.0 * gather_seconds(gathered, s.etp, bandwidth, ring_latency_s(s.etp, one, d) + e.collective_s)
    return np.asarray(exchange + gathering)


def _block(
    x: Setting,
    linears: list[tuple[Column, Column, Column, Column, Column]],
    memory: tuple[Column, Column],
    *,
    rate: Column,
    operand_bytes: Column,
    tensor_collectives: Column,
) -> LayerSeconds:
    """Linear layers, element-wise traffic and ``tensor_collectives`` all-reduces of the residual stream each way.

    A linear layer is tokens, width in, width out, how many of them are launched together, and the rate of their kind.
    """
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    bandwidth = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    forward = input_gradient = weight_gradient = np.zeros(())
    for tokens, width_in, width_out, batch, kind_rate in linears:
        f, i, w = linear_seconds(
            tokens,
            width_in,
            width_out,
            batch,
            flops_per_s=rate * e.gemm_efficiency * kind_rate,
            bytes_per_s=bandwidth,
            compute_units=d.compute_units,
            element_bytes=operand_bytes,
        )
        forward, input_gradient, weight_gradient = forward + f, input_gradient + i, weight_gradient + w
    stream = HALF * a.hidden * tokens_per_rank(s, x.seq)
    one = np.ones(())
    up, out = e.scale_up_efficiency, e.scale_out_efficiency
    # Sequence parallelism gathers and scatters instead of reducing; those go around a ring.
    ring = 2.0 * gather_seconds(stream, s.tp, group_bandwidth(s.tp, one, d, up, out), ring_latency_s(s.tp, one, d))
    reduce = np.where(s.sp > 0, ring, all_reduce_seconds(stream, s.tp, one, d, up, out))
    exposed = (1.0 - e.tensor_overlap) * tensor_collectives * reduce
    return _nothing(
        matmul_f=forward,
        matmul_b=input_gradient + weight_gradient,
        weight_gradient=weight_gradient,
        memory_f=memory[0] / bandwidth,
        memory_b=memory[1] / bandwidth,
        tensor_f=exposed,
        tensor_b=exposed,
    )


def _frozen(layer: LayerSeconds, frozen: Column) -> LayerSeconds:
    """The seconds without weight gradients where the weights are frozen."""
    left = (1.0 - frozen) * layer.weight_gradient
    return replace(layer, matmul_b=layer.matmul_b - frozen * layer.weight_gradient, weight_gradient=left)


def _adapted(x: Setting, layer: LayerSeconds, tuning: Tuning, work: Work) -> tuple[LayerSeconds, tuple[Column, Column]]:
    """A layer with frozen weights and adapters beside them, and its kernels in each pass over those of a forward pass.

    Adapters work in half precision, by kernels of their own that are not fused with the products beside them; four-bit
    weights are expanded before every product.
    """
    a, s, e, d = x.architecture, x.shard, x.efficiency, x.device
    bandwidth = d.memory_bandwidth_bytes_per_s * e.memory_efficiency
    rate = d.attention_flops_per_s * e.gemm_efficiency
    cost = work(a, s, tuning, x.seq)
    spared = np.where(x.recipe.operand_bytes < HALF, TRANSPOSED * cost.input_bytes, 0.0)
    added = _nothing(
        matmul_f=cost.flops / rate,
        matmul_b=2.0 * cost.flops / rate,
        memory_f=(cost.forward_bytes + cost.expanded_bytes - spared) / bandwidth,
        memory_b=(cost.backward_bytes + cost.expanded_bytes - spared) / bandwidth,
    )
    kernels = ADAPTER_LAUNCHES * cost.adapters
    backward = BACKWARD_LAUNCHES + tuning.frozen * (FROZEN_LAUNCHES - BACKWARD_LAUNCHES)
    return _frozen(layer, tuning.frozen) + added, (1.0 + kernels, backward + BACKWARD_LAUNCHES * kernels)


def _floored(x: Setting, layer: LayerSeconds, launches: Column, work: Work) -> LayerSeconds:
    """The layer with the wait for the host where the device is faster than the launches, and for the tp ranks.

    The host runs ahead of the device, so launching is a floor and not an addition. Each of the two tensor-parallel
    collectives of a pass waits for the last rank to arrive; while a device waits, its host launches on.
    """
    kernels: tuple[Column, Column] = np.ones(()), np.asarray(BACKWARD_LAUNCHES)
    if x.tuning is not None:
        layer, kernels = _adapted(x, layer, x.tuning, work)
    passes = layer.passes
    softmax = SOFTMAX_LAUNCHES * unfused_softmax(x.architecture, x.shard, x.recipe)
    launch = (launches + softmax) * x.efficiency.layer_launch_s
    meeting = np.where(x.shard.tp > 1, COLLECTIVES_PER_PASS * x.efficiency.collective_s, 0.0)
    return layer + _nothing(
        launch_f=_beyond(kernels[0] * launch, passes.forward + meeting),
        launch_b=_beyond(kernels[1] * launch, passes.backward + meeting),
        tensor_f=meeting,
        tensor_b=meeting,
    )


def _beyond(launch: Column, device: Column) -> Column:
    """Seconds that launching adds to the device's."""
    longer = np.maximum(np.maximum(launch, device), 1e-12)
    ratios = (launch / longer) ** FLOOR_SHARPNESS + (device / longer) ** FLOOR_SHARPNESS
    return longer * ratios ** (1.0 / FLOOR_SHARPNESS) - device


def _nothing(**seconds: Column) -> LayerSeconds:
    zero = np.zeros(())
    return LayerSeconds(**{name: seconds.get(name, zero) for name in LayerSeconds.names()})
