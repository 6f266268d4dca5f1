"""Measured memory of runs against predicted: what the device holds at its fullest stage, as the row's tool reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from catalogs.runs import Run
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.layout import Replicas, Shard
from costmodels.memory import allocated_bytes, first_step_bytes, rank_bytes, reserved_bytes
from costmodels.recipe import Recipe
from costmodels.stage import layers_of, stage_bytes
from optimizer.runs_prediction import RunTable

GIB = 2.0**30

COMPILED_LOSS_SINCE = "torchtitan-2025-04"
"""Release since which torchtitan compiles the loss with the model (its pull request 1033)."""

FIRST_STEP_SOURCES = ("MindSpeed-LLM CI",)
"""Sources that print the memory peak at the end of the first step, before activations and optimizer state meet."""


ALLOCATED_SOURCES = ("Megatron-Bridge skills",)
"""Sources that do not name their reading but run out of 80 GB of memory at 59 GB of it: it counts live tensors."""


def _total(parts: dict[str, Column]) -> Column:
    return sum(parts.values(), start=np.zeros(()))


READINGS: dict[str, Callable[[dict[str, Column]], Column]] = {
    "allocated": allocated_bytes,
    "reserved": reserved_bytes,
    "device": _total,
    "first step": first_step_bytes,
}
"""What tools read: live tensors, the allocator's pool, or all that the device holds."""


def reading_of(run: Run) -> str:
    """Which of :data:`READINGS` a row's figure is; unnamed kinds are what the device's own tool shows."""
    if run.source.startswith(FIRST_STEP_SOURCES):
        return "first step"
    if run.mem_kind in {"", "unknown"} and run.source.startswith(ALLOCATED_SOURCES):
        return "allocated"
    return run.mem_kind if run.mem_kind in READINGS else "device"


def predicted_gib(table: RunTable, efficiency: Efficiency) -> dict[str, Column]:
    """GiB of every row's fullest stage by reading (:data:`READINGS`).

    Args:
        table: rows of a run file.
        efficiency: constants of the rows' profiles, 0-d or one entry per row.
    """
    recipe, shard, replicas = _stated(table)
    x = table.setting(shard, recipe, efficiency)
    layers = layers_of(x)
    peaks: dict[str, Column] = {name: np.zeros(len(table)) for name in READINGS}
    for stage in range(int(np.max(table.pipe.pp))):
        here = np.minimum(float(stage), table.pipe.pp - 1)
        parts = rank_bytes(stage_bytes(x, layers, table.pipe, here), shard, table.pipe, replicas, recipe)
        for name, reading in READINGS.items():
            peaks[name] = np.maximum(peaks[name], reading(parts) / GIB)
    return peaks


def _stated(table: RunTable) -> tuple[Recipe, Shard, Replicas]:
    """The table's columns with what the rows say about number formats, fusion and recomputation."""
    runs, frameworks = table.runs, table.frameworks
    changed = {name: np.array(np.broadcast_to(getattr(table.recipe, name), len(table))) for name in Recipe.names()}
    selective = np.array(np.broadcast_to(table.shard.selective, len(table)))
    recomputed = np.array(np.broadcast_to(table.shard.recompute_layers, len(table)))
    offloaded = np.array(np.broadcast_to(table.replicas.offload_optimizer, len(table)))
    for i, (run, framework) in enumerate(zip(runs, frameworks, strict=True)):
        fp32_gradients = run.grad_dtype == "fp32"
        if framework in {"megatron-deepspeed", "deepspeed"}:
            # The bf16 optimizer accumulates in fp32 beside the half-precision gradients of autograd.
            changed["gradient_bytes"][i] = 6.0 if fp32_gradients else 2.0
        elif changed["master_bytes"][i] > 0 and run.grad_dtype:
            changed["gradient_bytes"][i] = 4.0 if fp32_gradients else 2.0
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
