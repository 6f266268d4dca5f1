"""Measured runs predicted: by the profiles of a catalog, or by fits that have not seen them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.profile import Profile
from catalogs.runs import Run
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.interval import combined_sigma
from optimizer.accuracy.memory import Memory
from optimizer.accuracy.validation import Validation
from optimizer.calibration.deviations import cluster_sigmas, held_apart_sigmas
from optimizer.calibration.fit import fit
from optimizer.calibration.folds import (
    Progress,
    by_group,
    by_model,
    by_source,
    dealt,
    fits_apart,
    held_apart,
    predicted_apart,
)
from optimizer.calibration.parts import Fit
from optimizer.calibration.software import labels_of, shift_name
from optimizer.measured.memory import predicted_gib
from optimizer.measured.memory_readings import reading_of, unknown_memory
from optimizer.measured.reading import run_table
from optimizer.measured.skipped import Skipped
from optimizer.measured.table import RunTable
from optimizer.trust import step_sigma


def validate(catalog: Catalog, runs: Iterable[Run]) -> Validation:
    """Predict measured runs by the profiles of a catalog."""
    rows = tuple(runs)
    table, memory, skipped = _read(catalog, rows)
    if table is None:
        return _nothing(rows, memory, skipped)
    profiles, notes = _profiles(catalog, table)
    efficiency = Efficiency.stack([Efficiency.of(profile) for profile in profiles])
    seconds = table.predict(efficiency) * np.exp([_shift(table, row, profiles[row]) for row in range(len(table))])
    return Validation(rows, table, seconds, _sigmas(profiles, table), notes, memory, skipped)


def cross_validate(
    catalog: Catalog,
    runs: Iterable[Run],
    *,
    by: Literal["group", "model", "source"] = "group",
    folds: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> Validation:
    """Predict measured runs by fits that have not seen their groups, their models, or their sources.

    The intervals are learned from the residuals of other folds alone, so that their coverage is honest too; for whole
    sources held apart they carry what an unseen cluster adds.

    Args:
        catalog: what exists; its profiles are not used.
        runs: rows of a file.
        by: what is held apart together: a ``group`` (source, accelerator and architecture), a ``model`` (an
            architecture, wherever it ran) or a whole ``source``.
        folds: parts into which groups or models are dealt (every source is a part of its own).
        seed: of the dealing.
        progress: told after every fit to a part of the rows.
    """
    rows = tuple(runs)
    table, memory, skipped = _read(catalog, rows)
    if table is None:
        return _nothing(rows, memory, skipped)
    fitted = fit(catalog, table)
    groups = dealt(table, folds, seed=seed, key=by_model if by == "model" else by_group)
    seconds = held_apart(catalog, table, fitted, groups, progress=progress)
    sigma: Column = held_apart_sigmas(table, np.log(table.measured_s / seconds), groups)
    unseen: dict[str, Fit] = {}
    if by == "source":
        fold = dealt(table, 0, key=by_source)
        fits = fits_apart(catalog, table, fitted, fold, progress=progress)
        seconds = predicted_apart(catalog, table, fits, fold)
        unseen = {run.source: fits[int(part)] for run, part in zip(table.runs, fold, strict=True)}
        clusters = cluster_sigmas(table, np.log(table.measured_s / seconds))
        sigma = combined_sigma(sigma, np.array([clusters[bool(moe)] for moe in table.is_moe]))
    if memory is not None:
        memory = memory.held_apart(folds, seed=seed)
    note = f"{by} held apart"
    return Validation(rows, table, seconds, sigma, (note,) * len(table), memory, skipped, unseen)


def _read(catalog: Catalog, runs: tuple[Run, ...]) -> tuple[RunTable | None, Memory | None, tuple[Skipped, ...]]:
    """The rows with a measured time, the memory of all that can be predicted, and the others."""
    every, skipped = run_table(catalog, runs, timed=False)
    if every is None:
        return None, None, tuple(skipped)
    unknown = _unknown_memory(catalog, every)
    useless = [row for row, reason in enumerate(unknown) if reason and not np.isfinite(every.measured_s[row])]
    skipped += [Skipped(every.runs[row], unknown[row]) for row in useless]
    every = every.select(np.delete(np.arange(len(every)), useless))
    if not len(every):
        return None, None, tuple(skipped)
    timed = np.flatnonzero(np.isfinite(every.measured_s))
    return every.select(timed) if timed.size else None, _memory(catalog, every), tuple(skipped)


def _unknown_memory(catalog: Catalog, table: RunTable) -> tuple[str, ...]:
    return tuple(
        unknown_memory(run, catalog.frameworks[name]) for run, name in zip(table.runs, table.frameworks, strict=True)
    )


def _memory(catalog: Catalog, table: RunTable) -> Memory:
    profiles, _ = _profiles(catalog, table)
    with np.errstate(all="ignore"):
        gib = predicted_gib(table, Efficiency.stack([Efficiency.of(profile) for profile in profiles]))
    return Memory(
        table=table,
        unknown=_unknown_memory(catalog, table),
        gib=gib,
        readings=tuple(reading_of(run) for run in table.runs),
        measured=np.array([np.nan if run.mem_gib is None else run.mem_gib for run in table.runs]),
        sigma=np.array([catalog.frameworks[name].memory_log_sigma for name in table.frameworks]),
    )


def _nothing(runs: tuple[Run, ...], memory: Memory | None, skipped: tuple[Skipped, ...]) -> Validation:
    nothing: NDArray[np.float64] = np.zeros(0)
    return Validation(runs, None, nothing, nothing, (), memory, skipped)


def _profiles(catalog: Catalog, table: RunTable) -> tuple[list[Profile], tuple[str, ...]]:
    resolved = {
        c: resolve_profile(catalog, catalog.accelerators[c[0]], c[1], c[2]) for c in dict.fromkeys(table.combinations)
    }
    return [resolved[c][0] for c in table.combinations], tuple(resolved[c][1] for c in table.combinations)


def _shift(table: RunTable, row: int, profile: Profile) -> float:
    """Log factor of the row's software release and switches, as far as the profile knows them."""
    return sum(profile.shifts.get(shift_name(label), 0.0) for label in labels_of(table, row))


def _sigmas(profiles: Sequence[Profile], table: RunTable) -> Column:
    """Deviation of log step time of every row: wider where its profile was not fitted to its source or to its size."""
    return np.array(
        [
            float(
                step_sigma(
                    profile,
                    moe=bool(moe),
                    accelerators=np.asarray(float(run.n_accel or 1)),
                    known=run.source in profile.campaigns,
                )
            )
            for profile, run, moe in zip(profiles, table.runs, table.is_moe, strict=True)
        ]
    )
