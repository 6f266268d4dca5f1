"""Scores of predictions against measurements: errors, and how many lie in their intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column
from costmodels.interval import interval_90

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
