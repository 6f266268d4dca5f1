"""Runs held apart: what stays together, how it is dealt, and predictions by fits that have not seen it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.runs import Run
from costmodels.columns import Column
from optimizer.calibration.fit import fit, predicted
from optimizer.calibration.parts import Anchor, Fit
from optimizer.measured.table import RunTable

Rows = NDArray[np.intp]
"""Index or fold of rows of a table."""

Progress = Callable[[int, int], None]
"""Called with folds fitted and folds there are."""


def by_group(run: Run) -> object:
    """One campaign on one architecture."""
    return run.group


def by_model(run: Run) -> object:
    """One architecture, whoever measured it and whatever it is called."""
    return run.layers, run.hidden, run.heads, run.ffn, run.experts


def by_source(run: Run) -> object:
    """Everything that one source publishes."""
    return run.source


def dealt(table: RunTable, folds: int, *, seed: int = 0, key: Callable[[Run], object] = by_group) -> Rows:
    """Fold of every row: groups are dealt at random, and a group is never split. ``folds`` 0 gives each its own."""
    groups = [key(run) for run in table.runs]
    names = sorted(set(groups), key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    fold = dict(zip(names, order % folds if folds else order, strict=True))
    return np.array([fold[group] for group in groups], dtype=np.intp)


def held_apart(
    catalog: Catalog,
    table: RunTable,
    fitted: Fit,
    fold: Rows,
    *,
    anchor: Anchor | None = None,
    progress: Progress | None = None,
) -> Column:
    """Predicted seconds of every row by a fit that has not seen the row's fold.

    Args:
        catalog: says which accelerators are relatives.
        table: the rows.
        fitted: a fit to all rows, where the fits to parts start from.
        fold: of every row.
        anchor: what the fits are drawn to.
        progress: told after every fold.
    """
    fits = fits_apart(catalog, table, fitted, fold, anchor=anchor, progress=progress)
    return predicted_apart(catalog, table, fits, fold, anchor=anchor)


def fits_apart(
    catalog: Catalog,
    table: RunTable,
    fitted: Fit,
    fold: Rows,
    *,
    anchor: Anchor | None = None,
    progress: Progress | None = None,
) -> dict[int, Fit]:
    """The fit to the rows outside each fold; arguments as of :func:`held_apart`."""
    fits = {}
    parts = np.unique(fold)
    for part in parts:
        rest = np.flatnonzero(fold != part)
        fits[int(part)] = fit(catalog, table.select(rest), start=fitted, anchor=anchor) if rest.size else Fit()
        if progress is not None:
            progress(len(fits), parts.size)
    return fits


def predicted_apart(
    catalog: Catalog, table: RunTable, fits: Mapping[int, Fit], fold: Rows, *, anchor: Anchor | None = None
) -> Column:
    """Predicted seconds of every row by the fit of its fold."""
    seconds = np.empty(len(table))
    for part, trained in fits.items():
        own = np.flatnonzero(fold == part)
        seconds[own] = predicted(catalog, table.select(own), trained, anchor=anchor)
    return seconds
