"""Training frameworks: which parallelism exists there, what overlaps, what is fused, what is stored."""

from __future__ import annotations

from typing import Literal

from catalogs.record import Record

Recompute = Literal["none", "selective", "full"]
Offload = Literal["none", "optimizer", "activations"]
Schedule = Literal["1f1b", "interleaved", "zero_bubble"]


class Framework(Record):
    """What a training framework can do. Anything not listed here is refused, never ignored.

    Attributes:
        vendors: accelerator makers it runs on.
        zero_stages: ZeRO stages (FSDP full shard = 3, shard-grad-op = 2, distributed optimizer = 1).
        schedules: pipeline schedules.
        tensor_parallel, sequence_parallel, context_parallel, expert_parallel, pipeline_parallel: existence.
        zero3_with_pipeline: whether stage 2/3 may be combined with pipeline parallelism.
        uneven_pipeline: first and last stage may hold fewer layers than the others.
        recompute, offload: kinds it offers.
        flash_attention: attention scores never reach memory.
        fused_mlp_activation: the gated activation saves only its input, not its intermediate product.
        fused_softmax_loss: cross entropy keeps one copy of the logits, in half precision.
        parameter_bytes: of one working parameter (2 for bf16 weights, 4 where FSDP keeps fp32 shards only).
        gradient_bytes: of one stored gradient element.
        master_bytes: of one separate master copy element (0 where the parameter itself is fp32).
        gather_bytes: of one parameter element as it travels in ZeRO-3 gathers.
        reduce_bytes: of one gradient element as it travels in reductions.
        optimizers: optimizer names it offers.
    """

    vendors: tuple[str, ...]
    zero_stages: tuple[Literal[0, 1, 2, 3], ...]
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
    flash_attention: bool
    fused_mlp_activation: bool
    fused_softmax_loss: bool
    parameter_bytes: Literal[2, 4]
    gradient_bytes: Literal[2, 4]
    master_bytes: Literal[0, 2, 4]
    gather_bytes: Literal[1, 2, 4]
    reduce_bytes: Literal[2, 4]
    optimizers: tuple[str, ...]
