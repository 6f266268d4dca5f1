"""Measured memory of runs against predicted: what the device holds at its fullest stage, as the row's tool reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from costmodels.activations import RECOMPUTED_MODULES, module_activations
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.layers import Layers, layers_of
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
from costmodels.recomputation import recomputed_share
from costmodels.setting import Setting
from costmodels.stage_bytes import loaded_stage_bytes
from optimizer.measured.memory_readings import READINGS
from optimizer.measured.memory_stated import stated
from optimizer.measured.table import RunTable

GIB = 2.0**30

LAST_STAGES_TAKE_MORE = frozenset({"internevo"})
"""Frameworks whose last pipeline stages hold one layer more where layers do not divide (``partition_uniform`` in
https://github.com/InternLM/InternEvo/blob/develop/internlm/core/parallel/comm/utils.py)."""


def predicted_gib(table: RunTable, efficiency: Efficiency) -> dict[str, Column]:
    """GiB of every row's fullest stage by reading, and what it must have (``needed``).

    Readings are those of :data:`optimizer.measured.memory_readings.READINGS`.

    Args:
        table: rows of a run file.
        efficiency: constants of the rows' profiles, 0-d or one entry per row.
    """
    recipe, shard, replicas = stated(table)
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
