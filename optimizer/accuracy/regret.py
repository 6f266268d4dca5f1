"""Predictions judged as decisions: what it costs to run the layout that they call fastest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from catalogs.runs import Run
from costmodels.columns import Column
from optimizer.measured.table import RunTable

LAYOUTS_TO_RANK = 5
"""Layouts that a group needs before choosing among them says anything."""


@dataclass(frozen=True)
class Regret:
    """What choosing the predicted-fastest layout of each group costs over the measured-fastest.

    Attributes:
        groups: groups with at least :data:`LAYOUTS_TO_RANK` layouts.
        mean, p90, worst: extra time of the choice.
        random: mean extra time of a layout picked at random.
    """

    groups: int
    mean: float
    p90: float
    worst: float
    random: float


def regret(table: RunTable, predicted_s: Column, source: str = "", *, servers: bool | None = None) -> Regret | None:
    """Regret over the groups whose source contains ``source``; None if no group has enough layouts.

    Args:
        table: the rows.
        predicted_s: seconds per step of each.
        source: text in the source's name.
        servers: True only for runs on several servers, False only for runs in one.
    """
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, run in enumerate(table.runs):
        several = bool(run.n_accel and run.accel_per_node and run.n_accel > run.accel_per_node)
        if source in run.source and servers in (None, several):
            groups[(*run.group, run.precision, run.n_accel, run.gbs, run.seq)].append(index)
    chosen, random = [], []
    for members in groups.values():
        if len({_layout(table.runs[index]) for index in members}) < LAYOUTS_TO_RANK:
            continue
        measured, predicted = table.measured_s[members], predicted_s[members]
        chosen.append(measured[np.argmin(predicted)] / measured.min() - 1.0)
        random.append(measured.mean() / measured.min() - 1.0)
    if not chosen:
        return None
    return Regret(
        groups=len(chosen),
        mean=float(np.mean(chosen)),
        p90=float(np.quantile(chosen, 0.9)),
        worst=float(np.max(chosen)),
        random=float(np.mean(random)),
    )


def _layout(run: Run) -> tuple[object, ...]:
    return (run.tp, run.pp, run.vpp, run.cp, run.ep, run.dp, run.mbs, run.zero, run.recompute)
