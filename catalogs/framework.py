"""Training frameworks: which parallelism exists there, what overlaps, what is fused, what is stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from catalogs.profile import Precision
from catalogs.quantity import Bytes
from catalogs.record import Record

Recompute = Literal["none", "selective", "full"]
Offload = Literal["none", "optimizer", "activations"]
Schedule = Literal["1f1b", "interleaved", "zero_bubble"]
AdapterModule = Literal["q", "k", "v", "o", "gate", "up", "down"]
OverlapNeed = Literal[
    "expert-parallel", "whole-experts", "interleaved", "no-full-recompute", "one-prediction-layer", "micro-batches"
]


class Framework(Record):
    """What a training framework can do. Anything not listed here is refused, never ignored.

    Attributes:
        vendors: accelerator makers it runs on.
        zero_stages: ZeRO stages (FSDP full shard = 3, shard-grad-op = 2, distributed optimizer = 1).
        hybrid_zero_stages: of these, the stages whose state may be shared by groups of ranks smaller than all
            data-parallel ones (HSDP).
        schedules: pipeline schedules.
        tensor_parallel, sequence_parallel, context_parallel, expert_parallel, pipeline_parallel: existence.
        zero3_with_pipeline: whether stage 2/3 may be combined with pipeline parallelism.
        uneven_pipeline: first and last stage may hold fewer layers than the others.
        recompute, offload: kinds it offers.
        operator_recompute: ``selective`` recomputation keeps the results of every second matmul and of attention and
            recomputes all else (torchtitan); False: it recomputes the attention core alone (Megatron-LM).
        flash_attention: attention scores never reach memory.
        data_overlap: gradients are reduced and parameters gathered while the passes run; False: before and after them
            (Megatron-DeepSpeed's pipeline engine).
        expert_overlap: arguments that switch on an overlap of dispatch and combine of experts with the passes of
            another micro-batch (empty: there is no such switch). Plans take it to be on where the layout allows it.
        expert_overlap_needs: what a layout must have for it (:data:`costmodels.overlap.NEEDS` has the words).
        expert_overlap_told: what it needs besides, which no layout says.
        expert_overlap_or_data: it excludes the overlap of gradients and parameters with the passes.
        fused_mlp_activation: element-wise kernels are fused, by hand or by a compiler: the gated activation saves only
            its input, not its intermediate product.
        fused_softmax_loss: cross entropy keeps one copy of the logits, in half precision.
        loss_bytes: at the peak of cross entropy, per logit, unless ``fused_softmax_loss`` (flash-attn's own: 4;
            Megatron-LM: half-precision and fp32 logits and fp32 exponentials = 10; torch: three fp32 tensors in its
            backward pass = 12; transformers: the fp32 logits it returns beside them = 16).
        fused_norm: RMS norms save their half-precision input alone; False: the fp32 copy and the half-precision normed
            values of a norm written in single operations (transformers).
        split_loss_bytes: the same where tensor parallelism splits the vocabulary; absent: no different.
        spelled_gelu: the tanh approximation of GELU is written in single operations, whose results are saved too
            (MindSpeed-LLM).
        bias_matrices: linear position biases that come as matrices are kept for every layer's backward pass
            (MindSpeed-LLM: fused attention takes them as an argument).
        repeated_keys: grouped keys and values are repeated for every query head before attention, and saved so
            (transformers' repeat_kv).
        low_precision_weights: precisions at which weights exist in low precision alone, in both orientations, instead
            of beside half-precision ones (Transformer Engine's primary weights).
        quantised_operands: fp8 and fp4 matmuls save their low-precision inputs and keep low-precision copies of the
            weights (Transformer Engine); False: they quantise anew in the backward pass (torchao).
        gathered_inputs: under sequence parallelism, matmuls save their inputs gathered over the tensor-parallel ranks
            (torch DTensor); False: they save their share and gather it again (Megatron-LM).
        stage_outputs: a pipeline stage keeps what it sent until the backward pass (DeepSpeed; Megatron-LM frees it).
        parameter_bytes: of one working parameter (2 for bf16 weights, 4 where FSDP keeps fp32 shards only).
        fp16_parameter_bytes: the same in fp16, where that differs (MindFormers keeps no fp32 copy then).
        gradient_bytes: of one stored gradient element.
        fp16_gradient_bytes: of one gradient element in fp16, stored and on the wire, where that differs. The update
            then copies the gradients of its partition to fp32 for its master weights (Megatron-LM accumulates in fp32
            only with bf16).
        step_gradient_bytes: of the gradient copy that the optimizer step makes of its own partition (DeepSpeed: 4).
        scratch_gradient_bytes: of one weight gradient before it is added to the stored one.
        master_bytes: of one separate master copy element (0 where the parameter itself is fp32).
        gather_bytes: of one parameter element as it travels in ZeRO-3 gathers.
        reduce_bytes: of one gradient element as it travels in reductions.
        live_parameters: gathered parameters that ZeRO-3 keeps at least, beyond the layers in use (DeepSpeed's
            stage3_max_live_parameters).
        update_bytes: temporaries of the update per parameter of a rank's own partition; activations are gone by then.
        update_by_tensor: the update goes tensor by tensor, so that its temporaries are those of the largest one.
        optimizers: optimizer names it offers.
        reserve_bytes: held by driver, runtime and communication libraries outside the allocator, per device.
        fragmentation: share of the allocated peak that the caching allocator reserves on top.
        memory_log_sigma: standard deviation of log(measured / predicted) peak memory.
        joint_adapters: matrices that are multiplied as one (queries, keys and values; gate and up) share one adapter.
        adapter_rank, adapter_modules: of the adapters in its published benchmarks, where they do not say otherwise.
    """

    vendors: tuple[str, ...]
    zero_stages: tuple[Literal[0, 1, 2, 3], ...]
    hybrid_zero_stages: tuple[Literal[2, 3], ...] = ()
    schedules: tuple[Schedule, ...]
    tensor_parallel: bool
    sequence_parallel: bool
    context_parallel: bool
    expert_parallel: bool
    pipeline_parallel: bool
    zero3_with_pipeline: bool
    uneven_pipeline: bool
    recompute: tuple[Recompute, ...]
    offload: tuple[Offload, ...]
    operator_recompute: bool = False
    joint_adapters: bool = False
    adapter_rank: int | None = Field(default=None, ge=1)
    adapter_modules: tuple[AdapterModule, ...] = ()
    flash_attention: bool
    data_overlap: bool = True
    expert_overlap: tuple[str, ...] = ()
    expert_overlap_needs: tuple[OverlapNeed, ...] = ()
    expert_overlap_told: tuple[str, ...] = ()
    expert_overlap_or_data: bool = False
    fused_mlp_activation: bool
    fused_softmax_loss: bool
    loss_bytes: Literal[4, 10, 12, 16] = 10
    split_loss_bytes: Literal[16] | None = None
    fused_norm: bool = True
    spelled_gelu: bool = False
    bias_matrices: bool = False
    repeated_keys: bool = False
    low_precision_weights: tuple[Precision, ...] = ()
    quantised_operands: bool = True
    gathered_inputs: bool = False
    stage_outputs: bool = False
    parameter_bytes: Literal[2, 4]
    fp16_parameter_bytes: Literal[2] | None = None
    gradient_bytes: Literal[2, 4]
    fp16_gradient_bytes: Literal[2] | None = None
    step_gradient_bytes: Literal[0, 4] = 0
    scratch_gradient_bytes: Literal[0, 2] = 2
    master_bytes: Literal[0, 2, 4]
    gather_bytes: Literal[1, 2, 4]
    reduce_bytes: Literal[2, 4]
    live_parameters: float = Field(default=0, ge=0)
    update_bytes: float = Field(default=0, ge=0, le=24)
    update_by_tensor: bool = False
    optimizers: tuple[str, ...]
    reserve_bytes: Bytes = Field(ge=0, le=2**34)
    fragmentation: float = Field(ge=0, le=0.5)
    memory_log_sigma: float = Field(default=0.1, ge=0, le=1.0)
