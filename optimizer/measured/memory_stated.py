"""What rows say about number formats, fusion and recomputation, as far as memory depends on it and time does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from costmodels.layout import Replicas, Shard
from costmodels.recipe import Recipe
from optimizer.measured.launch_flags import launch_flag
from optimizer.measured.table import RunTable

COMPILED_LOSS_SINCE = "torchtitan-2025-04"
"""Release since which torchtitan compiles the loss with the model (its pull request 1033)."""

FUSED_UPDATE_SINCE = "mindspeed-llm-26"
"""Release since which the update of MindSpeed-LLM leaves no temporaries (the peaks of its CI baselines)."""


def stated(table: RunTable) -> tuple[Recipe, Shard, Replicas]:
    """The table's columns with what the rows say about number formats, fusion and recomputation."""
    runs, frameworks = table.runs, table.frameworks
    changed = {name: np.array(np.broadcast_to(getattr(table.recipe, name), len(table))) for name in Recipe.names()}
    selective = np.array(np.broadcast_to(table.shard.selective, len(table)))
    recomputed = np.array(np.broadcast_to(table.shard.recompute_layers, len(table)))
    offloaded = np.array(np.broadcast_to(table.replicas.offload_optimizer, len(table)))
    for i, (run, framework) in enumerate(zip(runs, frameworks, strict=True)):
        fp32_gradients = run.grad_dtype == "fp32"
        if "modules=" in run.recompute:  # what they do not save is taken off layer by layer
            recomputed[i] = 0.0
        if framework in {"megatron-deepspeed", "deepspeed"}:
            # The bf16 optimizer accumulates in fp32 beside the half-precision gradients of autograd.
            changed["gradient_bytes"][i] = 6.0 if fp32_gradients else 2.0
        elif changed["master_bytes"][i] > 0 and run.grad_dtype:
            changed["gradient_bytes"][i] = 4.0 if fp32_gradients else 2.0
        if "precision_aware_optimizer" in run.features:
            changed["moment_bytes"][i] = 4.0  # both moments in bf16
        if "fp8_param_gather" in run.features and changed["cast_bytes"][i] > 0:
            # The weights are kept in low precision alone, in both orientations.
            changed["parameter_bytes"][i] = changed["cast_bytes"][i] = changed["operand_bytes"][i]
        if framework == "megatron-bridge" and run.task in {"sft", "lora"}:
            # Its fine-tuning recipes turn the cache of transposed low-precision weights off
            # (disable_parameter_transpose_cache in scripts/performance/configs/llama/llama3_llm_finetune.py).
            changed["cast_bytes"][i] = np.minimum(changed["cast_bytes"][i], changed["operand_bytes"][i])
        if "reuse_fp32_param" in run.features:
            changed["master_bytes"][i] = 2.0  # the low half of the fp32 value; the weight is the high one
        if "swap_optimizer" in run.features or "optimizer" in run.offload:
            offloaded[i] = 1.0
        if framework == "mindspeed-llm":
            if (told := launch_flag(run, "use-fused-swiglu")) is not None:
                changed["fused_activation"][i] = told
            # The transformer of megatron.legacy attends through a module that makes its own mask in every layer
            # (FlashSelfAttention of modellink/model/transformer.py).
            changed["layer_masks"][i] = "legacy" in run.model
            if run.software < FUSED_UPDATE_SINCE and changed["update_bytes"][i] == 0:
                # Peaks of its CI baselines lie above all state by the fp32 size of the largest tensor.
                changed["update_bytes"][i], changed["update_by_tensor"][i] = 4.0, 1.0
        if framework == "torchtitan-fsdp2":
            compiled = bool(run.features & {"compile", "graph_compile"}) and "eager" not in run.id
            changed["fused_activation"][i] = compiled
            changed["fused_loss"][i] = compiled and "compile" in run.features and run.software >= COMPILED_LOSS_SINCE
            if "op-sac" in run.recompute or not run.recompute:  # its default
                selective[i], recomputed[i] = 1.0, 0.0
    return (
        Recipe.from_values(**changed),
        replace(table.shard, selective=selective, recompute_layers=recomputed),
        replace(table.replicas, offload_optimizer=offloaded),
    )
