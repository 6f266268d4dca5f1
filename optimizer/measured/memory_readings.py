"""What a row's memory figure counts, and whether the row says enough to predict it."""

from __future__ import annotations

from catalogs.framework import Framework
from catalogs.runs import Run

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
