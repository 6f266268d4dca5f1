"""Deviations of new predictions, from how far those of runs that a fit has not seen were off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.columns import Column
from costmodels.interval import NORMAL_90
from optimizer.calibration.folds import Rows
from optimizer.measured.table import Combination, RunTable

SOURCE_ROWS = 4
"""Rows that a source needs for its median residual to say something about its cluster."""

SHARED_GROUPS = 8.0
"""How many groups of its own a combination needs before its residuals weigh as much as those of all combinations."""

NOTHING_SEEN = 0.25
"""Deviation where no residual is known at all."""


@dataclass(frozen=True)
class Spread:
    """Deviations of log(measured / predicted), by what a prediction is for.

    Attributes:
        own: of a combination and whether the model has experts.
        everywhere: of dense models and of models with experts, over all combinations.
    """

    own: dict[tuple[Combination, bool], float]
    everywhere: dict[bool, float]

    @classmethod
    def of(cls, table: RunTable, residuals: Column, rows: Rows | None = None) -> Spread:
        """Deviations whose 90% interval holds 90% of the residuals.

        Each combination's is drawn to the one over all combinations the more, the fewer groups of runs it has; then all
        of a kind are scaled together, so that the intervals hold 90% of that kind and neither less nor more.

        Args:
            table: the rows.
            residuals: log(measured / predicted) of every row, held apart.
            rows: the rows to learn from (all if None).
        """
        index = np.arange(len(table)) if rows is None else rows
        members: dict[tuple[Combination, bool], list[int]] = {}
        for row in index:
            members.setdefault((table.combinations[row], bool(table.is_moe[row])), []).append(int(row))
        moe = table.is_moe[index]
        everywhere = {kind: _reach(residuals[index][moe == kind], NOTHING_SEEN) for kind in (False, True)}
        own = {}
        for (combination, kind), some in members.items():
            groups = len({table.groups[row] for row in some})
            own[combination, kind] = _drawn(residuals[some], groups, everywhere[kind])
        for kind in (False, True):
            mine = index[moe == kind]
            relative = [residuals[row] / own[table.combinations[row], kind] for row in mine]
            scale = _reach(np.array(relative), 1.0)
            own |= {key: scale * sigma for key, sigma in own.items() if key[1] == kind}
        return cls(own, everywhere)

    def sigma(self, combination: Combination, moe: bool) -> float:
        """Deviation of one prediction."""
        return min(self.own.get((combination, moe), self.everywhere[moe]), 1.0)

    def sigmas(self, table: RunTable) -> Column:
        """Deviation of every row of a table."""
        return np.array([self.sigma(c, bool(m)) for c, m in zip(table.combinations, table.is_moe, strict=True)])


def memory_sigmas(frameworks: Sequence[str], groups: Sequence[object], residuals: Column) -> dict[str, float]:
    """Deviation of log(measured / predicted) memory of every framework, and of one without a run under ``""``.

    Of the memory formulas two constants per framework are fitted, so that a residual is about as large as held apart.
    Each framework's deviation is drawn to the one over all of them as in :class:`Spread`.

    Args:
        frameworks: of the rows.
        groups: what is measured together, of the rows.
        residuals: log(measured / predicted).
    """
    everywhere = _reach(residuals, NOTHING_SEEN)
    found = {"": everywhere}
    for name in dict.fromkeys(frameworks):
        own = np.array([one == name for one in frameworks])
        count = len({group for group, mine in zip(groups, own, strict=True) if mine})
        found[name] = _drawn(residuals[own], count, everywhere)
    return found


def held_apart_memory_sigmas(
    frameworks: Sequence[str], groups: Sequence[object], residuals: Column, fold: Rows
) -> Column:
    """Deviation of every row, learned from the residuals of the other folds alone."""
    sigmas = np.empty(len(residuals))
    for part in np.unique(fold):
        rest, own = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        seen = [frameworks[int(row)] for row in rest], [groups[int(row)] for row in rest]
        learned = memory_sigmas(*seen, residuals[rest])
        sigmas[own] = [learned.get(frameworks[int(row)], learned[""]) for row in own]
    return sigmas


def _drawn(residuals: Column, groups: int, everywhere: float) -> float:
    """Deviation of the residuals of so many groups, drawn to the one over all the more, the fewer the groups."""
    share = groups / (groups + SHARED_GROUPS)
    reach = _reach(residuals, everywhere)
    return float(np.sqrt(share * reach**2 + (1.0 - share) * everywhere**2))


def _reach(residuals: Column, otherwise: float) -> float:
    """Deviation of which 90% of the residuals are within the 90% interval.

    The rank is that of conformal prediction, (n + 1)·0.9 of n (Vovk et al. 2005), so that few residuals do not promise
    too much.
    """
    if not residuals.size:
        return otherwise
    rank = min(0.9 * (residuals.size + 1) / residuals.size, 1.0)
    return float(np.quantile(np.abs(residuals), rank)) / NORMAL_90


def held_apart_sigmas(table: RunTable, residuals: Column, fold: Rows) -> Column:
    """Deviation of every row, learned from the residuals of the other folds alone."""
    sigmas = np.empty(len(table))
    for part in np.unique(fold):
        rest, own = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        sigmas[own] = Spread.of(table, residuals, rest).sigmas(table.select(own))
    return sigmas


def cluster_sigmas(table: RunTable, residuals: Column) -> dict[bool, float]:
    """What an unseen cluster or software campaign adds in quadrature, for dense models and for those with experts.

    It is the deviation of the common factor of a whole source: the median of its residuals. Learned from sources with
    at least :data:`SOURCE_ROWS` rows whose combination other sources measured too, so that nothing but the source is
    new; every source weighs the same.

    Args:
        table: the rows.
        residuals: log(measured / predicted) of every row, whole sources held apart.
    """
    sources: dict[Combination, set[str]] = {}
    for combination, run in zip(table.combinations, table.runs, strict=True):
        sources.setdefault(combination, set()).add(run.source)
    members: dict[tuple[str, bool], list[int]] = {}
    for row, (combination, run) in enumerate(zip(table.combinations, table.runs, strict=True)):
        if len(sources[combination]) > 1:
            members.setdefault((run.source, bool(table.is_moe[row])), []).append(row)
    found = {}
    for kind in (False, True):
        factors = [
            float(np.median(residuals[rows]))
            for (_, moe), rows in members.items()
            if moe == kind and len(rows) >= SOURCE_ROWS
        ]
        found[kind] = min(_reach(np.array(factors), 0.0), 1.0)
    return found
