"""What a row's software is known to be, whose effect on the step time is fitted as a factor: release and switches."""

from __future__ import annotations

from catalogs.inheritance import framework_family
from optimizer.measured.table import RunTable

Label = tuple[str, ...]
"""A release or a switch: which of the two, dense or MoE, the framework or its family, and the name."""

SWITCHES = frozenset(
    {
        "async_tp",
        "compile",
        "cuda_graphs",
        "cuda_graphs_full",
        "deepep",
        "eager",
        "ep_overlap",
        "flex_attention",
        "forced_balance",
        "graph_compile",
        "hybridep",
        "alltoall",
        "allgather_dispatch",
        "no_overlap",
        "packed_sequences",
        "power_capped",
        "token_drop",
        "tp_overlap",
        "untuned",
    }
)
"""Flags whose effect on the step time is fitted as a factor, because no formula has it."""


def labels_of(table: RunTable, row: int) -> list[Label]:
    """What a row's software is known to be: its release, and the switches among :data:`SWITCHES` that are on."""
    run, kind = table.runs[row], "moe" if table.is_moe[row] else "dense"
    family = framework_family(table.frameworks[row])
    labels: list[Label] = [("switch", kind, family, flag) for flag in sorted(run.features & SWITCHES)]
    if run.software:
        labels.append(("release", kind, table.frameworks[row], run.software))
    return labels


def shift_name(label: Label) -> str:
    """The name of a label (:func:`labels_of`) in a profile, which is for one framework already."""
    return " ".join((label[0], label[1], label[3]))
