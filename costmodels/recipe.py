"""Number formats as columns: how many bytes a parameter, gradient, state or activation takes, and what is fused."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.errors import UnsupportedError
from catalogs.framework import Framework
from catalogs.profile import Precision
from costmodels.columns import Column, Columns

MOMENT_BYTES: dict[str, float] = {
    "adamw": 8.0,  # two fp32 moments (Loshchilov & Hutter 2019)
    "adamw-8bit": 2.0,  # two block-quantised moments (Dettmers et al. 2022)
    "lion": 4.0,  # one momentum (Chen et al. 2023)
    "sgd-momentum": 4.0,
    "muon": 4.0,  # one momentum for matrices (Jordan 2024); embeddings counted alike
    "adafactor": 0.0,  # row and column statistics only, (h+f)/(h·f) of a parameter (Shazeer & Stern 2018)
}
"""Optimizer to bytes of state per parameter, without the master copy."""

OPERAND_BYTES: dict[Precision, float] = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "mxfp8": 1.03125, "nvfp4": 0.5625}
"""Bytes of one matmul operand element, block scales included (MXFP8: one byte per 32; NVFP4: one per 16)."""

CUSTOM_MATMULS: frozenset[Precision] = frozenset({"nvfp4"})
"""Precisions whose matmuls are custom operators that torchtitan's recomputation policy does not name and so repeats."""

CAST_WEIGHT_COPIES = 2.0
"""Low-precision copies of each weight kept for the forward and the transposed product (Transformer Engine)."""

FP32_BYTES = 4.0

UPCAST_BYTES = 4.0
"""What an unfused RMS norm saves beside the half-precision values: its input in fp32."""


@dataclass(frozen=True, eq=False)
class Recipe(Columns):
    """Bytes and fusions of a framework × precision × optimizer.

    Attributes:
        operand_bytes: of one matmul operand element (2 in half precision, about 1 in fp8).
        saved_bytes: of one matmul input element as saved for the backward pass.
        parameter_bytes: of one working parameter held between steps.
        cast_bytes: of low-precision weight copies held beside it.
        gradient_bytes: of one stored gradient element.
        step_gradient_bytes: of the gradient copy that the optimizer makes of its partition.
        scratch_gradient_bytes: of one weight gradient before it is added to the stored one.
        master_bytes: of one master-copy element (0 when the parameter itself is fp32).
        moment_bytes: optimizer state per parameter.
        gather_bytes: of a parameter element as gathered under ZeRO (1-3).
        reduce_bytes: of a gradient element on the wire.
        flash: 1 if attention scores never reach memory.
        first_flash: 1 if the kernel that sees to it is of the first generation (FlashAttention 1, until July 2023).
        overlaps_data: 1 if data-parallel traffic can hide behind the passes.
        overlaps_experts: 1 if dispatch and combine run beside the passes of another micro-batch (of plans:
            where the layout allows it, :mod:`costmodels.overlap`).
        merges_copies: 1 if a token is sent once to a domain, whichever of its experts are there.
        fused_activation: 1 if a gated activation saves no intermediate product.
        fused_loss: 1 if cross entropy works on one half-precision copy of the logits.
        loss_bytes: of one logit at the peak of an unfused cross entropy.
        split_loss_bytes: the same where tensor parallelism splits the vocabulary.
        spelled_gelu: 1 if the tanh approximation of GELU saves the result of each of its operations.
        bias_matrices: 1 if every layer keeps linear position biases that come as matrices.
        layer_masks: 1 if every layer holds an attention mask of its own, one byte per pair of tokens.
        repeated_keys: 1 if grouped keys and values are saved once per query head.
        norm_bytes: saved per element of an RMS norm's input beside its half-precision copy.
        operator_recompute: 1 if selective recomputation keeps chosen matmul results, 0 if it drops the attention core.
        operator_products: 1 if operator-level recomputation recognises the matmuls of this precision.
        gathered_inputs: 1 if matmuls under sequence parallelism save their inputs gathered.
        stage_outputs: 1 if a pipeline stage keeps what it sent until the backward pass.
        live_params: gathered parameters that ZeRO-3 keeps at least.
        update_bytes: temporaries of the update per parameter of the rank's partition.
        update_by_tensor: 1 if they are those of its largest tensor alone.
        reserve_bytes: held by driver, runtime and communication libraries, per device.
        fragmentation: share of the allocated peak that the caching allocator reserves on top.
    """

    operand_bytes: Column
    saved_bytes: Column
    parameter_bytes: Column
    cast_bytes: Column
    gradient_bytes: Column
    step_gradient_bytes: Column
    scratch_gradient_bytes: Column
    master_bytes: Column
    moment_bytes: Column
    gather_bytes: Column
    reduce_bytes: Column
    flash: Column
    first_flash: Column
    overlaps_data: Column
    overlaps_experts: Column
    merges_copies: Column
    fused_activation: Column
    fused_loss: Column
    loss_bytes: Column
    norm_bytes: Column
    split_loss_bytes: Column
    spelled_gelu: Column
    bias_matrices: Column
    layer_masks: Column
    repeated_keys: Column
    operator_recompute: Column
    operator_products: Column
    gathered_inputs: Column
    stage_outputs: Column
    live_params: Column
    update_bytes: Column
    update_by_tensor: Column
    reserve_bytes: Column
    fragmentation: Column

    @classmethod
    def of(cls, framework: Framework, precision: Precision, optimizer: str) -> Recipe:
        """The recipe a framework uses at a precision with an optimizer.

        Experts exchange tokens by a plain all-to-all, overlapped where the framework has a switch for it.

        Raises:
            UnsupportedError: the framework does not offer the optimizer.
        """
        if optimizer not in framework.optimizers:
            raise UnsupportedError(
                f"{framework.name} has no optimizer {optimizer!r}; it offers {', '.join(framework.optimizers)}"
            )
        operand = OPERAND_BYTES[precision]
        half = OPERAND_BYTES["bf16"]
        cached = framework.quantised_operands and operand < half
        alone = cached and precision in framework.low_precision_weights
        parameter, gradient, reduce, update = _state_formats(framework, precision)
        return cls.from_values(
            operand_bytes=operand,
            saved_bytes=operand if cached else half,
            parameter_bytes=operand if alone else parameter,
            cast_bytes=(1.0 if alone else CAST_WEIGHT_COPIES) * operand if cached else 0.0,
            gradient_bytes=gradient,
            step_gradient_bytes=framework.step_gradient_bytes,
            scratch_gradient_bytes=framework.scratch_gradient_bytes,
            master_bytes=framework.master_bytes,
            moment_bytes=MOMENT_BYTES[optimizer],
            gather_bytes=framework.gather_bytes,
            reduce_bytes=reduce,
            flash=framework.flash_attention,
            first_flash=0.0,
            overlaps_data=framework.data_overlap,
            overlaps_experts=bool(framework.expert_overlap),
            merges_copies=0.0,
            fused_activation=framework.fused_mlp_activation,
            fused_loss=framework.fused_softmax_loss,
            loss_bytes=framework.loss_bytes,
            split_loss_bytes=framework.split_loss_bytes or framework.loss_bytes,
            spelled_gelu=framework.spelled_gelu,
            bias_matrices=framework.bias_matrices,
            layer_masks=0.0,
            repeated_keys=framework.repeated_keys,
            norm_bytes=0.0 if framework.fused_norm else UPCAST_BYTES,
            operator_recompute=framework.operator_recompute,
            operator_products=precision not in CUSTOM_MATMULS,
            gathered_inputs=framework.gathered_inputs,
            stage_outputs=framework.stage_outputs,
            live_params=framework.live_parameters,
            update_bytes=framework.update_bytes if update is None else update,
            update_by_tensor=framework.update_by_tensor and update is None,
            reserve_bytes=framework.reserve_bytes,
            fragmentation=framework.fragmentation,
        )


def _state_formats(framework: Framework, precision: Precision) -> tuple[float, float, float, float | None]:
    """Bytes of a parameter, of a gradient as stored and on the wire, and of an fp16 update's fp32 gradients, if any."""
    parameter, gradient, reduce = framework.parameter_bytes, framework.gradient_bytes, framework.reduce_bytes
    if precision != "fp16":
        return parameter, gradient, reduce, None
    narrow = framework.fp16_gradient_bytes
    copied = FP32_BYTES if narrow is not None and framework.master_bytes else None
    return framework.fp16_parameter_bytes or parameter, narrow or gradient, narrow or reduce, copied
