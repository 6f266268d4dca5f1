"""Scores of predictions against measurements: errors, interval coverage, memory, and decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalogs.runs import Run
from costmodels.columns import Column
from costmodels.interval import interval_90
from optimizer.runs_prediction import RunTable

LAYOUTS_TO_RANK = 5
"""Layouts that a group needs before choosing among them says anything."""

TOO_LOW = 0.1
"""Share by which a memory prediction below the measured value misleads."""


@dataclass(frozen=True)
class Score:
    """How close some predictions are.

    Attributes:
        rows: how many.
        median, mean, p90: of the absolute error relative to the measured value.
        bias: median signed error (positive: predicted too slow, or too much memory).
        coverage: share of rows whose measured value lies in the 90% interval.
        low: share of rows predicted more than :data:`TOO_LOW` below the measured value.
    """

    rows: int
    median: float
    mean: float
    p90: float
    bias: float
    coverage: float
    low: float

    @classmethod
    def of(cls, measured: Column, predicted: Column, sigma: Column) -> Score:
        """The score of predictions with their log sigmas."""
        error = predicted / measured - 1.0
        below, above = interval_90(predicted, sigma)
        size = np.abs(error)
        return cls(
            rows=error.size,
            median=float(np.median(size)),
            mean=float(np.mean(size)),
            p90=float(np.quantile(size, 0.9)),
            bias=float(np.median(error)),
            coverage=float(np.mean((measured >= below) & (measured <= above))),
            low=float(np.mean(error < -TOO_LOW)),
        )


def scores_by(names: Sequence[str], measured: Column, predicted: Column, sigma: Column) -> dict[str, Score]:
    """Scores of the rows of each name, by name."""
    rows: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        rows[name].append(index)
    return {name: Score.of(measured[rows[name]], predicted[rows[name]], sigma[rows[name]]) for name in sorted(rows)}


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
