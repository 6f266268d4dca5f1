"""Measured memory of runs against predicted: what the device holds at its fullest stage, as the row's tool reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catalogs.framework import Framework
from catalogs.runs import Run
from costmodels.activations import RECOMPUTED_MODULES, module_activations
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.layer import Setting
from costmodels.layout import Replicas, Shard
from costmodels.memory import (
    allocated_bytes,
    first_step_bytes,
    needed_bytes,
    on_device,
    rank_bytes,
    reserved_bytes,
    update_bytes,
)
from costmodels.partition import stage_layers
from costmodels.recipe import Recipe
from costmodels.stage import Layers, layers_of, loaded_stage_bytes, recomputed_share
from optimizer.runs_prediction import LAUNCH_FLAGS, RunTable

GIB = 2.0**30

COMPILED_LOSS_SINCE = "torchtitan-2025-04"
"""Release since which torchtitan compiles the loss with the model (its pull request 1033)."""

FUSED_UPDATE_SINCE = "mindspeed-llm-26"
"""Release since which the update of MindSpeed-LLM leaves no temporaries (the peaks of its CI baselines)."""

LAST_STAGES_TAKE_MORE = frozenset({"internevo"})
"""Frameworks whose last pipeline stages hold one layer more where layers do not divide (``partition_uniform`` in
https://github.com/InternLM/InternEvo/blob/develop/internlm/core/parallel/comm/utils.py)."""

STATED_BY_DEFAULT = frozenset({"torchtitan-fsdp2"})
"""Frameworks whose runs follow the default recomputation unless they say otherwise."""

FIRST_STEP_SOURCES = ("MindSpeed-LLM CI",)
"""Sources that print the memory peak at the end of the first step, before activations and optimizer state meet."""


ALLOCATED_SOURCES = ("Megatron-Bridge skills",)
"""Sources that do not name their reading but run out of 80 GB of memory at 59 GB of it: it counts live tensors."""


READINGS = ("allocated", "reserved", "device", "first step")
"""What tools read: live tensors, the allocator's pool, or all that the device holds."""


def reading_of(run: Run) -> str:
    """Which of :data:`READINGS` a row's figure is; unnamed kinds are what the device's own tool shows."""
    if run.source.startswith(FIRST_STEP_SOURCES):
        return "first step"
    if run.mem_kind in {"", "unknown"} and run.source.startswith(ALLOCATED_SOURCES):
        return "allocated"
    return run.mem_kind if run.mem_kind in READINGS else "device"


def unknown_memory(run: Run, framework: Framework) -> str:
    """Why the memory of a row whose time can be predicted cannot be, or nothing.

    Facts that weigh little in time decide memory: a row that leaves them open is no test of a memory model.
    """
    dp = (run.n_accel or 1) / ((run.tp or 1) * (run.pp or 1) * (run.cp or 1))
    missing = [
        name
        for name, unstated in (
            ("recompute", not run.recompute and framework.name not in STATED_BY_DEFAULT),
            ("zero", run.zero is None and dp > 1 and len(framework.zero_stages) > 1),
            ("ep", run.ep is None and run.experts is not None),
        )
        if unstated
    ]
    if missing:
        return f"memory: {', '.join(missing)} is not stated"
    if "modules" in run.offload:
        return f"memory: offload of {run.offload.removeprefix('activations of ')} is not modelled"
    return ""


def predicted_gib(table: RunTable, efficiency: Efficiency) -> dict[str, Column]:
    """GiB of every row's fullest stage by reading (:data:`READINGS`), and what it must have (``needed``).

    Args:
        table: rows of a run file.
        efficiency: constants of the rows' profiles, 0-d or one entry per row.
    """
    recipe, shard, replicas = _stated(table)
    x = table.setting(shard, recipe, efficiency)
    layers = _without_modules(table, x, layers_of(x))
    last_take_more = np.array([float(name in LAST_STAGES_TAKE_MORE) for name in table.frameworks])
    peaks: dict[str, Column] = {name: np.zeros(len(table)) for name in (*READINGS, "needed")}
    for stage in range(int(np.max(table.pipe.pp))):
        here = np.minimum(float(stage), table.pipe.pp - 1)
        counts = stage_layers(x.architecture, table.pipe, here, last_take_more)
        fullest = loaded_stage_bytes(x, layers, table.pipe, here, *counts, recomputed_share(x, table.pipe))
        parts = rank_bytes(fullest, shard, table.pipe, replicas, recipe)
        reserved = reserved_bytes(on_device(parts, table.device.memory_bytes))
        read = {
            "allocated": allocated_bytes(parts),
            "reserved": reserved,
            "device": reserved + parts["reserve"],
            "first step": first_step_bytes(parts, update_bytes(fullest, shard, replicas, recipe)),
            "needed": needed_bytes(parts),
        }
        for name, value in read.items():
            peaks[name] = np.maximum(peaks[name], value / GIB)
    return peaks


def _without_modules(table: RunTable, x: Setting, layers: Layers) -> Layers:
    """The layers without what rows that recompute single modules do not save."""
    named = [run.recompute.partition("modules=")[2].split("+") for run in table.runs]
    modules = {name: np.array([float(name in one) for one in named]) for name in RECOMPUTED_MODULES}
    dense, moe = module_activations(x.architecture, x.shard, x.recipe, x.seq, modules)
    return replace(
        layers,
        dense_bytes=np.maximum(layers.dense_bytes - dense, layers.input_bytes),
        moe_bytes=np.maximum(layers.moe_bytes - moe, layers.input_bytes),
    )


def _stated(table: RunTable) -> tuple[Recipe, Shard, Replicas]:
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
            if LAUNCH_FLAGS in run.notes:
                changed["fused_activation"][i] = "use-fused-swiglu" in run.notes
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
