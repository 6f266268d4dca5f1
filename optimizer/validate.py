"""How far predictions are from measured runs: row by row, by source, accelerator and framework, and as decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.profile import Profile
from catalogs.runs import Run
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from costmodels.interval import combined_sigma, interval_90, probability_below
from optimizer.calibrate import fit, labels_of
from optimizer.profiles import shift_name
from optimizer.residuals import (
    by_group,
    by_model,
    by_source,
    cluster_sigmas,
    dealt,
    held_apart,
    held_apart_memory_sigmas,
    held_apart_sigmas,
    memory_sigmas,
)
from optimizer.runs_memory import GIB, predicted_gib, reading_of, unknown_memory
from optimizer.runs_prediction import RunTable, Skipped, run_table
from optimizer.scores import Regret, Score, regret, scores_by
from optimizer.trust import row_sigmas

NO_TIME = "no time was measured; memory only"
"""Reason of a row whose step time is not predicted."""

DECISIONS: tuple[tuple[str, str, bool | None], ...] = (
    ("vTrain, several servers", "vTrain", True),
    ("vTrain, one server", "vTrain", False),
    ("BLOOM", "BLOOM", None),
    ("all sources", "", None),
)
"""Choices among layouts that are reported: title, text in the source, whether on several servers."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Predicted memory of runs.

    Attributes:
        table: every predicted row, with a measured time or not.
        unknown: of each row, why its memory cannot be predicted (:func:`optimizer.runs_memory.unknown_memory`), or
            nothing; scores leave such rows out.
        gib: GiB on the fullest rank by reading (:data:`optimizer.runs_memory.READINGS`).
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
        """Deviation by framework as the residuals say (:func:`optimizer.residuals.memory_sigmas`)."""
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
        names = [f"{_short(self.table.runs[row].source)} ({self.readings[row]})" for row in known]
        every = scores_by(["all"] * known.size, measured, predicted, sigma)
        tasks = scores_by([f"all of task {_task(self.table.runs[row])}" for row in known], measured, predicted, sigma)
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


@dataclass(frozen=True, eq=False)
class Validation:
    """Predictions of measured runs.

    Attributes:
        runs: every row, in the order of the files.
        table: the rows with a predicted step time.
        predicted_s, sigma: their seconds per step, and standard deviation of their logarithm.
        notes: where the profile of each of them comes from.
        memory: of every predicted row.
        skipped: the other rows, with reasons.
    """

    runs: tuple[Run, ...]
    table: RunTable | None
    predicted_s: Column
    sigma: Column
    notes: tuple[str, ...]
    memory: Memory | None
    skipped: tuple[Skipped, ...]

    @property
    def residuals(self) -> Column:
        """log(measured / predicted) step time."""
        return np.zeros(0) if self.table is None else np.log(self.table.measured_s / self.predicted_s)

    def scores(self, names: Sequence[str] | None = None) -> dict[str, Score]:
        """Scores of step times by name; ``names`` gives each row its name (default: dense or MoE)."""
        if self.table is None:
            return {}
        names = names or ["moe" if moe else "dense" for moe in self.table.is_moe]
        return scores_by(names, self.table.measured_s, self.predicted_s, self.sigma)

    def regret(self, source: str = "", *, servers: bool | None = None) -> Regret | None:
        """As :func:`optimizer.scores.regret`."""
        return None if self.table is None else regret(self.table, self.predicted_s, source, servers=servers)

    def decisions(self) -> dict[str, Regret]:
        """Regret by what was chosen (:data:`DECISIONS`), as far as there are groups of layouts."""
        found = {title: self.regret(source, servers=servers) for title, source, servers in DECISIONS}
        return {title: one for title, one in found.items() if one is not None}

    def to_json(self) -> dict[str, Any]:
        """Every row in the order of the files, and the summary, as JSON-ready values."""
        by_row: dict[int, dict[str, Any]] = {}
        notes: dict[int, str] = {}
        if self.memory is not None:
            for row, run in enumerate(self.memory.table.runs):
                by_row[id(run)] = {"step_s": None, "mem_gib": self.memory.to_json(row)}
                notes[id(run)] = self.memory.unknown[row]
        if self.table is not None:
            low, high = interval_90(self.predicted_s, self.sigma)
            for row, run in enumerate(self.table.runs):
                by_row[id(run)]["step_s"] = {
                    "measured": float(self.table.measured_s[row]),
                    "predicted": float(self.predicted_s[row]),
                    "low": float(low[row]),
                    "high": float(high[row]),
                }
                by_row[id(run)]["profile"] = self.notes[row]
        reasons = {id(one.run): one.reason for one in self.skipped}
        rows: list[dict[str, Any]] = []
        for run in self.runs:
            if id(run) in reasons:
                rows.append({"id": run.id, "status": "skipped", "reason": reasons[id(run)]})
            else:
                figures = by_row[id(run)]
                reason = NO_TIME if figures["step_s"] is None else notes[id(run)]
                rows.append({"id": run.id, "status": "ok", "reason": reason, **figures})
        return {"rows": rows, "summary": self.summary()}

    def summary(self) -> dict[str, Any]:
        """Counts, reasons for skipping, and scores, as JSON-ready values."""
        found: dict[str, Any] = {
            "rows": {"ok": len(self._predicted()), "skipped": len(self.skipped)},
            "skipped": dict(self.skip_reasons()),
        }
        for title, names in (("overall", None), *self._groupings()):
            found[title] = {name: vars(score) for name, score in self.scores(names).items()}
        found["decisions"] = {title: vars(one) for title, one in self.decisions().items()}
        memory = self.memory
        found["memory"] = {} if memory is None else {name: vars(score) for name, score in memory.scores().items()}
        found["fits_denied"] = None if memory is None else memory.denied
        found["memory_log_sigma"] = {} if memory is None else memory.learned_sigmas()
        found["memory_unknown"] = {} if memory is None else dict(_counted(filter(None, memory.unknown)))
        return found

    def _predicted(self) -> tuple[Run, ...]:
        return () if self.memory is None else self.memory.table.runs

    def skip_reasons(self) -> list[tuple[str, int]]:
        """Reasons for skipping, most frequent first; suspect rows together."""
        return _counted("suspect" if s.reason.startswith("suspect") else s.reason for s in self.skipped)

    def _groupings(self) -> list[tuple[str, list[str]]]:
        if self.table is None:
            return []
        kind = ["moe" if moe else "dense" for moe in self.table.is_moe]

        def named(values: Iterable[str]) -> list[str]:
            return [f"{value} ({k})" for value, k in zip(values, kind, strict=True)]

        return [
            ("task", named(_task(run) for run in self.table.runs)),
            ("source", named(run.source for run in self.table.runs)),
            ("accelerator", named(self.table.accelerators)),
            ("framework", named(self.table.frameworks)),
        ]

    def to_text(self) -> str:
        """The scores as a table."""
        lines = [f"{len(self._predicted())} rows predicted, {len(self.skipped)} skipped"]
        for title, names in (("overall", None), *self._groupings()):
            heading = f"step time by {title}" if names else "step time"
            lines.append(f"{heading:44}   rows  median    mean     P90    bias  in 90%")
            lines += [_line(name, score) for name, score in self.scores(names).items()]
        if decisions := self.decisions():
            lines.append("fastest layout by prediction                 groups    mean     P90   worst  random")
            for title, r in decisions.items():
                lines.append(f"  {title:42} {r.groups:6d} {r.mean:7.1%} {r.p90:7.1%} {r.worst:7.1%} {r.random:7.1%}")
        if self.memory is not None and (scores := self.memory.scores()):
            heading = "memory by source and reading"
            lines.append(f"{heading:44}   rows  median    mean     P90    bias  in 90%  >10% low")
            lines += [f"{_line(name, score)}   {score.low:7.1%}" for name, score in scores.items()]
            complete = np.count_nonzero(self.memory.complete)
            lines.append(f"  predicted not to fit, though it ran        {self.memory.denied:7.1%} of {complete} rows")
            lines += [f"  {count:6d}  {reason}" for reason, count in _counted(filter(None, self.memory.unknown))]
        if self.skipped:
            lines.append("skipped because")
            lines += [f"  {count:6d}  {reason}" for reason, count in self.skip_reasons()]
        return "\n".join(lines)


def _task(run: Run) -> str:
    """What the row trains: everything from scratch unless it says otherwise."""
    return run.task or "pretrain"


def _counted(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """How often each occurs, most frequent first."""
    return sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0]))


def _line(name: str, s: Score) -> str:
    return (
        f"  {_short(name):42} {s.rows:6d} {s.median:7.1%} {s.mean:7.1%} {s.p90:7.1%} {s.bias:+7.1%} {s.coverage:7.1%}"
    )


def _short(text: str) -> str:
    """At most 42 characters, the end kept: it says whether the rows are dense."""
    return text if len(text) <= 42 else f"{text[:33]}… {text[-7:].strip()}"


def validate(catalog: Catalog, runs: Iterable[Run]) -> Validation:
    """Predict measured runs by the profiles of a catalog."""
    rows = tuple(runs)
    table, memory, skipped = _read(catalog, rows)
    if table is None:
        return _nothing(rows, memory, skipped)
    profiles, notes = _profiles(catalog, table)
    efficiency = Efficiency.stack([Efficiency.of(profile) for profile in profiles])
    seconds = table.predict(efficiency) * np.exp([_shift(table, row, profiles[row]) for row in range(len(table))])
    return Validation(rows, table, seconds, row_sigmas(profiles, table), notes, memory, skipped)


def cross_validate(
    catalog: Catalog,
    runs: Iterable[Run],
    *,
    by: Literal["group", "model", "source"] = "group",
    folds: int = 8,
    seed: int = 0,
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
    """
    rows = tuple(runs)
    table, memory, skipped = _read(catalog, rows)
    if table is None:
        return _nothing(rows, memory, skipped)
    fitted = fit(catalog, table)
    groups = dealt(table, folds, seed=seed, key=by_model if by == "model" else by_group)
    seconds = held_apart(catalog, table, fitted, groups)
    sigma: Column = held_apart_sigmas(table, np.log(table.measured_s / seconds), groups)
    if by == "source":
        seconds = held_apart(catalog, table, fitted, dealt(table, 0, key=by_source))
        clusters = cluster_sigmas(table, np.log(table.measured_s / seconds))
        sigma = combined_sigma(sigma, np.array([clusters[bool(moe)] for moe in table.is_moe]))
    if memory is not None:
        memory = memory.held_apart(folds, seed=seed)
    note = f"{by} held apart"
    return Validation(rows, table, seconds, sigma, (note,) * len(table), memory, skipped)


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
