"""Predicted memory of measured runs, against what was measured and against what the device has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.interval import interval_90, probability_below
from optimizer.accuracy.naming import short, task_of
from optimizer.accuracy.scores import Score, scores_by
from optimizer.calibration.deviations import held_apart_memory_sigmas, memory_sigmas
from optimizer.calibration.folds import dealt
from optimizer.measured.memory import GIB
from optimizer.measured.table import RunTable


@dataclass(frozen=True, eq=False)
class Memory:
    """Predicted memory of runs.

    Attributes:
        table: every predicted row, with a measured time or not.
        unknown: of each row, why its memory cannot be predicted, or nothing
            (:func:`optimizer.measured.memory_readings.unknown_memory`); scores leave such rows out.
        gib: GiB on the fullest rank by reading (:data:`optimizer.measured.memory_readings.READINGS`).
        readings: which of them each row's figure is.
        measured: GiB (NaN where nothing was measured).
        sigma: standard deviation of log(measured / predicted).
    """

    table: RunTable
    unknown: tuple[str, ...]
    gib: dict[str, Column]
    readings: tuple[str, ...]
    measured: Column
    sigma: Column

    @property
    def predicted(self) -> Column:
        """GiB of the reading that each row is."""
        return np.array([self.gib[reading][row] for row, reading in enumerate(self.readings)])

    @property
    def denied(self) -> float:
        """Share of the rows, all of which ran, that are predicted not to fit."""
        return float(1.0 - np.mean(self.fits[self.complete])) if np.any(self.complete) else 0.0

    @property
    def denied_measured(self) -> float:
        """The same share of the rows whose memory was measured."""
        known = np.isfinite(self.measured) & self.complete
        return float(1.0 - np.mean(self.fits[known])) if np.any(known) else 0.0

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether each row states what decides its memory."""
        return np.array([not reason for reason in self.unknown])

    @property
    def fits(self) -> Column:
        """Whether each row fits: what it needs, without what the allocator may return, is no more than there is."""
        return np.asarray(self.gib["needed"] * GIB <= self.table.device.memory_bytes)

    @property
    def p_fits(self) -> Column:
        """Probability that it fits."""
        return probability_below(self.table.device.memory_bytes, self.gib["needed"] * GIB, self.sigma)

    @property
    def known(self) -> NDArray[np.intp]:
        """Rows whose memory was measured and can be predicted."""
        return np.flatnonzero(np.isfinite(self.measured) & self.complete)

    def learned_sigmas(self) -> dict[str, float]:
        """Deviation by framework as the residuals say (:func:`optimizer.calibration.deviations.memory_sigmas`)."""
        if not self.known.size:
            return {}
        return memory_sigmas(*self._residuals())

    def held_apart(self, folds: int, *, seed: int) -> Memory:
        """The same with every measured row's deviation learned from other groups alone."""
        known = self.known
        if not known.size:
            return self
        sigma = self.sigma.copy()
        fold = dealt(self.table.select(known), folds, seed=seed)
        sigma[known] = held_apart_memory_sigmas(*self._residuals(), fold)
        return replace(self, sigma=sigma)

    def _residuals(self) -> tuple[list[str], list[object], Column]:
        """Framework, group and log(measured / predicted) of the measured rows."""
        known = self.known
        names: list[str] = [self.table.frameworks[row] for row in known]
        groups: list[object] = [self.table.groups[row] for row in known]
        return names, groups, np.log(self.measured[known] / self.predicted[known])

    def scores(self) -> dict[str, Score]:
        """Scores of all rows, by task, and by source and reading."""
        known = self.known
        if not known.size:
            return {}
        measured, predicted, sigma = self.measured[known], self.predicted[known], self.sigma[known]
        names = [f"{short(self.table.runs[row].source)} ({self.readings[row]})" for row in known]
        every = scores_by(["all"] * known.size, measured, predicted, sigma)
        tasks = scores_by([f"all of task {task_of(self.table.runs[row])}" for row in known], measured, predicted, sigma)
        return every | tasks | scores_by(names, measured, predicted, sigma)

    def to_json(self, row: int) -> dict[str, Any] | None:
        """One row: the figure that was measured, and every reading predicted; nothing if it does not say enough."""
        if self.unknown[row]:
            return None
        middle, sigma = self.predicted[row], self.sigma[row]
        low, high = interval_90(middle, sigma)
        measured = self.measured[row]
        return {
            "kind": self.readings[row],
            "measured": float(measured) if np.isfinite(measured) else None,
            "predicted": float(middle),
            "low": float(low),
            "high": float(high),
            "fits": bool(self.fits[row]),
            "p_fits": float(self.p_fits[row]),
        } | {name: float(self.gib[name][row]) for name in ("allocated", "reserved", "device")}
